#!/usr/bin/python3
"""Times training steps of GPT-2 in PyTorch on the CPU; one JSON object on stdout. compare_pytorch.py runs it.

fp32, AdamW with decay on matrices only, gradient norm and clipping, tied head, no dropout, random tokens: what bench/
train_step does. Written for speed within what PyTorch 1.13 offers on a CPU: one packed qkv product, batched attention
with an additive mask, AdamW tensor by tensor (on a CPU the form over lists makes temporaries of the whole model),
gradients dropped instead of set to zero. The interpreter needs PyTorch (Debian: python3-torch, /usr/bin/python3).
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
                          ("batch", 4), ("threads", 2), ("warmup", 1), ("steps", 3)]:
        parser.add_argument("--" + name, type=int, default=default)
    return parser.parse_args()


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
        self.register_buffer("mask", torch.full((1, a.sequence, a.sequence), float("-inf")).triu(1))
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)

    def forward(self, tokens, targets):
        x = self.token(tokens) + self.position.weight[:tokens.shape[1]]
        for block in self.blocks:
            x = block(x, self.mask)
        logits = F.linear(self.norm(x), self.token.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def make_optimizer(model):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                             lr=6e-4, betas=(0.9, 0.95), foreach=False)


def train_step(model, optimizer, tokens, targets):
    optimizer.zero_grad(set_to_none=True)
    loss = model(tokens, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def main():
    a = ARGUMENTS
    torch.set_num_threads(a.threads)
    torch.manual_seed(1)
    model = Gpt(a)
    optimizer = make_optimizer(model)
    tokens = torch.randint(a.vocab, (a.batch, a.sequence + 1))
    times = []
    for step in range(a.warmup + a.steps):
        begin = time.perf_counter()
        loss = train_step(model, optimizer, tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
        if step >= a.warmup:
            times.append(time.perf_counter() - begin)
    print(json.dumps({"torch": torch.__version__, "parameters": sum(p.numel() for p in model.parameters()),
                      "step_times_s": times, "tokens_per_s": a.batch * a.sequence / statistics.median(times),
                      "last_loss": loss}))


if __name__ == "__main__":
    main()
