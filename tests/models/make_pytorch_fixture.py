#!/usr/bin/python3
"""Writes tests/fixtures/pytorch_gpt2.{json,bin}: what PyTorch makes of 20 training steps of a tiny GPT-2.

Run with the interpreter that has PyTorch (Debian's python3-torch: /usr/bin/python3). The binary holds the initial
weights as float32 in the JSON's order, then the token windows as int32 (steps * sequences, T), little-endian. Every
window begins with token 0 and its last target is 0, so that the windows can lie in a token file in any order. Losses
and gradient norms (before clipping) come from a run in float64 and one in float32, both from the same weights.
"""
import argparse
import json
import math
import pathlib

import torch
import torch.nn.functional as F

MODEL = {"layers": 2, "hidden": 32, "heads": 4, "ffn": 128, "sequence": 16, "vocab": 65}
OPTIMIZER = {"lr": 3e-3, "min_lr": 3e-4, "warmup_steps": 5, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95,
             "eps": 1e-8, "grad_clip": 1.5}
STEPS, SEQUENCES, SEED = 20, 4, 20240917


def parameter_shapes():
    """Leasehold's names and shapes, in its order. qkv: per head query, key, value."""
    C, H, ffn = MODEL["hidden"], MODEL["heads"], MODEL["ffn"]
    D = C // H
    shapes = {"embedding.token.weight": (MODEL["vocab"], C), "embedding.position.weight": (MODEL["sequence"], C)}
    for i in range(MODEL["layers"]):
        block = f"blocks.{i}"
        shapes.update({
            f"{block}.attention.norm.weight": (C,), f"{block}.attention.norm.bias": (C,),
            f"{block}.attention.qkv.weight": (H, 3, D, C), f"{block}.attention.qkv.bias": (H, 3, D),
            f"{block}.attention.projection.weight": (C, C), f"{block}.attention.projection.bias": (C,),
            f"{block}.mlp.norm.weight": (C,), f"{block}.mlp.norm.bias": (C,),
            f"{block}.mlp.fc.weight": (ffn, C), f"{block}.mlp.fc.bias": (ffn,),
            f"{block}.mlp.projection.weight": (C, ffn), f"{block}.mlp.projection.bias": (C,),
        })
    shapes.update({"norm.weight": (C,), "norm.bias": (C,)})
    return shapes


def draw_weights():
    """No parameter at a special point: biases are not zero, gains not one."""
    generator = torch.Generator().manual_seed(SEED)
    weights = {}
    for name, shape in parameter_shapes().items():
        draw = torch.randn(shape, generator=generator, dtype=torch.float32)
        is_gain = name.endswith("norm.weight")
        weights[name] = 1 + 0.1 * draw if is_gain else (0.02 if name.endswith("bias") else 0.08) * draw
    return weights


def draw_windows():
    """Text with something to learn: mostly the token's successor times three."""
    generator = torch.Generator().manual_seed(SEED + 1)
    T, V = MODEL["sequence"], MODEL["vocab"]
    windows = torch.zeros(STEPS * SEQUENCES, T, dtype=torch.int32)
    for row in windows:
        for t in range(1, T):
            surprise = torch.rand((), generator=generator).item() < 0.3
            drawn = torch.randint(1, V, (), generator=generator).item()
            row[t] = drawn if surprise or t == 1 else (3 * int(row[t - 1]) + 1) % V
    return windows


def norm(p, name, x):
    return F.layer_norm(x, (x.shape[-1],), p[name + ".weight"], p[name + ".bias"], 1e-5)


def attention(p, name, x):
    B, T, C = x.shape
    H = MODEL["heads"]
    qkv = F.linear(x, p[name + ".qkv.weight"].reshape(3 * C, C), p[name + ".qkv.bias"].reshape(3 * C))
    q, k, v = qkv.reshape(B, T, H, 3, C // H).permute(3, 0, 2, 1, 4)
    scores = q @ k.transpose(-1, -2) / math.sqrt(C // H)
    scores = scores.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf"))
    out = (scores.softmax(-1) @ v).transpose(1, 2).reshape(B, T, C)
    return F.linear(out, p[name + ".projection.weight"], p[name + ".projection.bias"])


def mlp(p, name, x):
    hidden = F.gelu(F.linear(x, p[name + ".fc.weight"], p[name + ".fc.bias"]), approximate="tanh")
    return F.linear(hidden, p[name + ".projection.weight"], p[name + ".projection.bias"])


def mean_loss(p, tokens, targets):
    x = p["embedding.token.weight"][tokens] + p["embedding.position.weight"][:tokens.shape[1]]
    for i in range(MODEL["layers"]):
        x = x + attention(p, f"blocks.{i}.attention", norm(p, f"blocks.{i}.attention.norm", x))
        x = x + mlp(p, f"blocks.{i}.mlp", norm(p, f"blocks.{i}.mlp.norm", x))
    logits = F.linear(norm(p, "norm", x), p["embedding.token.weight"])
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def learning_rate(step):
    o = OPTIMIZER
    if step < o["warmup_steps"]:
        return o["lr"] * (step + 1) / o["warmup_steps"]
    progress = (step - o["warmup_steps"]) / (STEPS - o["warmup_steps"])
    return o["min_lr"] + 0.5 * (o["lr"] - o["min_lr"]) * (1 + math.cos(math.pi * progress))


def train(weights, windows, dtype):
    p = {name: value.to(dtype).clone().requires_grad_() for name, value in weights.items()}
    matrices = [value for name, value in p.items() if name.endswith("weight") and "norm" not in name]
    others = [value for value in p.values() if not any(value is matrix for matrix in matrices)]
    o = OPTIMIZER
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": o["weight_decay"]}, {"params": others, "weight_decay": 0.0}],
        lr=o["lr"], betas=(o["beta1"], o["beta2"]), eps=o["eps"])
    losses, norms = [], []
    for step in range(STEPS):
        tokens = windows[step * SEQUENCES:(step + 1) * SEQUENCES].long()
        targets = torch.roll(tokens, -1, dims=1)  # the first token is 0, and so is the last target
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.zero_grad()
        loss = mean_loss(p, tokens, targets)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(p.values(), o["grad_clip"]).item())
        losses.append(loss.item())
        optimizer.step()
    return {"losses": losses, "gradient_norms": norms}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
    parser.add_argument("--output", type=pathlib.Path, default=default, help="folder (default: tests/fixtures)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    weights, windows = draw_weights(), draw_windows()
    fixture = {"torch": torch.__version__, "model": MODEL, "optimizer": OPTIMIZER, "steps": STEPS,
               "sequences": SEQUENCES,
               "parameters": [{"name": name, "shape": list(value.shape)} for name, value in weights.items()],
               "float64": train(weights, windows, torch.float64), "float32": train(weights, windows, torch.float32)}
    (arguments.output / "pytorch_gpt2.json").write_text(json.dumps(fixture, indent=1) + "\n")
    with open(arguments.output / "pytorch_gpt2.bin", "wb") as file:
        for value in [*weights.values(), windows]:
            file.write(value.numpy().tobytes())


if __name__ == "__main__":
    main()
