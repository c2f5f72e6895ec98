#!/usr/bin/python3
"""Times training steps of GPT-2 in PyTorch; one JSON object on stdout. compare_pytorch.py runs it.

AdamW with decay on matrices only, gradient norm and clipping, tied head, no dropout, random tokens: what bench/train_step
does. Written for speed within what PyTorch offers. On a CPU, where 1.13 is enough: fp32, one packed qkv product, batched
attention with an additive mask, fused AdamW where PyTorch has it for CPUs (2.4 and later), else tensor by tensor (the
form over lists makes temporaries of the whole model), gradients dropped instead of set to zero. On a GPU: scaled_dot_product_attention, fused AdamW, --compile for
torch.compile, and for --precision bf16 autocast over fp32 weights. --microbatch accumulates gradients. The interpreter
needs PyTorch (Debian: python3-torch, /usr/bin/python3).
"""
import argparse
import json
import math
import os
import statistics
import time


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in [("layers", 12), ("hidden", 768), ("heads", 12), ("vocab", 50257), ("sequence", 64),
                          ("batch", 4), ("microbatch", 0), ("threads", 2), ("warmup", 1), ("steps", 3)]:
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16: on cuda only")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    a = parser.parse_args()
    a.microbatch = a.microbatch or a.batch
    if a.batch % a.microbatch:
        parser.error(f"--batch {a.batch} is no multiple of --microbatch {a.microbatch}")
    if a.precision == "bf16" and a.device == "cpu":
        parser.error("--precision bf16 needs --device cuda")
    return a


ARGUMENTS = parse_arguments()
# Both thread pools: PyTorch's own and that of the BLAS it calls. Before the import, which reads them.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = str(ARGUMENTS.threads)

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402


class Block(nn.Module):
    def __init__(self, C, H):
        super().__init__()
        self.H = H
        self.attention_norm, self.mlp_norm = nn.LayerNorm(C), nn.LayerNorm(C)
        self.qkv, self.attention_projection = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.fc, self.mlp_projection = nn.Linear(C, 4 * C), nn.Linear(4 * C, C)

    def attention(self, x, mask):
        B, T, C = x.shape
        D = C // self.H
        if x.is_cuda:
            q, k, v = self.qkv(x).view(B, T, 3, self.H, D).permute(2, 0, 3, 1, 4)
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.attention_projection(out.transpose(1, 2).reshape(B, T, C))
        q, k, v = self.qkv(x).view(B, T, 3, self.H, D).permute(2, 0, 3, 1, 4).reshape(3, B * self.H, T, D)
        scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=1 / math.sqrt(D))
        out = torch.bmm(scores.softmax(-1), v)
        return self.attention_projection(out.view(B, self.H, T, D).transpose(1, 2).reshape(B, T, C))

    def forward(self, x, mask):
        x = x + self.attention(self.attention_norm(x), mask)
        return x + self.mlp_projection(F.gelu(self.fc(self.mlp_norm(x)), approximate="tanh"))


class Gpt(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.token, self.position = nn.Embedding(a.vocab, a.hidden), nn.Embedding(a.sequence, a.hidden)
        self.blocks = nn.ModuleList(Block(a.hidden, a.heads) for _ in range(a.layers))
        self.norm = nn.LayerNorm(a.hidden)
        mask = None if a.device == "cuda" else torch.full((1, a.sequence, a.sequence), float("-inf")).triu(1)
        self.register_buffer("mask", mask)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        x = self.token(tokens) + self.position.weight[:tokens.shape[1]]
        for block in self.blocks:
            x = block(x, self.mask)
        logits = F.linear(self.norm(x), self.token.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def optimizer_form(a):
    """PyTorch's name of the fastest form of AdamW that it has for the device."""
    has_fused = a.device == "cuda" or tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 4)
    return "fused" if has_fused else "for-loop"


def instructions(a):
    if a.device == "cuda":
        return torch.cuda.get_device_name()
    capability = getattr(torch.backends, "cpu", None)
    return capability.get_cpu_capability() if capability else "instructions unknown"


def make_optimizer(model, a):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                             lr=6e-4, betas=(0.9, 0.95),
                             **({"fused": True} if optimizer_form(a) == "fused" else {"foreach": False}))


def train_step(model, optimizer, tokens, targets, a):
    optimizer.zero_grad(set_to_none=True)
    total = 0
    for i in range(0, a.batch, a.microbatch):
        with torch.autocast(a.device, dtype=torch.bfloat16, enabled=a.precision == "bf16"):
            loss = model(tokens[i:i + a.microbatch], targets[i:i + a.microbatch]) * (a.microbatch / a.batch)
        loss.backward()
        total += loss.detach()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return total.item()  # waits for the device


def main():
    a = ARGUMENTS
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    model = Gpt(a).to(a.device)
    optimizer = make_optimizer(model, a)
    # As frequent as in texts (Zipf's law), as bench/train_step draws them.
    uniform = torch.rand(a.batch, a.sequence + 1, dtype=torch.float64)
    tokens = ((uniform * math.log(a.vocab + 1)).exp().long() - 1).clamp(0, a.vocab - 1).to(a.device)
    run = torch.compile(model) if a.compile else model
    times = []
    for step in range(a.warmup + a.steps):
        begin = time.perf_counter()
        loss = train_step(run, optimizer, tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous(), a)
        if a.device == "cuda":
            torch.cuda.synchronize()
        if step >= a.warmup:
            times.append(time.perf_counter() - begin)
    print(json.dumps({"torch": torch.__version__, "optimizer": optimizer_form(a), "instructions": instructions(a),
                      "parameters": sum(p.numel() for p in model.parameters()),
                      "step_times_s": times, "tokens_per_s": a.batch * a.sequence / statistics.median(times),
                      "last_loss": loss}))


if __name__ == "__main__":
    main()
