#!/usr/bin/python3
"""Writes tests/fixtures/pytorch_*.{json,bin}: 20 training steps of tiny models of both families, computed by PyTorch.

Run with the interpreter that has PyTorch (Debian's python3-torch: /usr/bin/python3). A binary holds the initial
weights as float32 in the JSON's order, then the token windows as int32 (steps * sequences, T), then the logits of the
first step's windows under the initial weights as float64 (sequences, T, vocab); little-endian. Every window begins with
token 0 and its last target is 0, so that the windows can lie in a token file in any order. Losses and gradient norms
(before clipping) come from a run in float64 and one in float32, both from the same weights.
"""
import argparse
import json
import math
import pathlib

import torch
import torch.nn.functional as F

MODELS = {
    "gpt2": {"family": "gpt2", "layers": 2, "hidden": 32, "heads": 4, "ffn": 128, "sequence": 16, "vocab": 65},
    # Grouped heads; of the four pairs of a head one is fast, one is blended and two are slowed down.
    "llama": {"family": "llama", "layers": 2, "hidden": 32, "heads": 4, "kv_heads": 2, "ffn": 48, "sequence": 16,
              "vocab": 65, "norm_eps": 1e-6, "tied": False, "rope_theta": 100.0, "rope_factor": 4.0,
              "rope_low_freq_factor": 1.0, "rope_high_freq_factor": 4.0, "rope_original_sequence": 32},
    "llama_tied": {"family": "llama", "layers": 2, "hidden": 32, "heads": 4, "kv_heads": 1, "ffn": 56, "sequence": 16,
                   "vocab": 65, "norm_eps": 1e-5, "tied": True, "rope_theta": 10000.0},
}
OPTIMIZER = {"lr": 3e-3, "min_lr": 3e-4, "warmup_steps": 5, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95,
             "eps": 1e-8, "grad_clip": 1.5}
STEPS, SEQUENCES, SEED = 20, 4, 20240917


def gpt2_shapes(model):
    """Returns Leasehold's names and shapes, in its order. qkv: per head query, key, value."""
    C, H, ffn = model["hidden"], model["heads"], model["ffn"]
    D = C // H
    shapes = {"embedding.token.weight": (model["vocab"], C), "embedding.position.weight": (model["sequence"], C)}
    for i in range(model["layers"]):
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


def llama_shapes(model):
    """Returns the same for llama. qkv: per kv head its query heads, then key, then value. gate_up: gate, then up."""
    C, H, G, ffn = model["hidden"], model["heads"], model["kv_heads"], model["ffn"]
    shapes = {"embedding.token.weight": (model["vocab"], C)}
    for i in range(model["layers"]):
        block = f"blocks.{i}"
        shapes.update({
            f"{block}.attention.norm.weight": (C,), f"{block}.attention.qkv.weight": (G, H // G + 2, C // H, C),
            f"{block}.attention.projection.weight": (C, C), f"{block}.mlp.norm.weight": (C,),
            f"{block}.mlp.gate_up.weight": (2, ffn, C), f"{block}.mlp.projection.weight": (C, ffn),
        })
    shapes["norm.weight"] = (C,)
    if not model["tied"]:
        shapes["head.weight"] = (model["vocab"], C)
    return shapes


def draw_weights(model):
    """Draws parameters away from special points: biases are not zero, gains not one."""
    generator = torch.Generator().manual_seed(SEED)
    shapes = gpt2_shapes(model) if model["family"] == "gpt2" else llama_shapes(model)
    weights = {}
    for name, shape in shapes.items():
        draw = torch.randn(shape, generator=generator, dtype=torch.float32)
        is_gain = name.endswith("norm.weight")
        weights[name] = 1 + 0.1 * draw if is_gain else (0.02 if name.endswith("bias") else 0.08) * draw
    return weights


def draw_windows(model):
    """Draws text that can be learned: mostly the token's successor times three."""
    generator = torch.Generator().manual_seed(SEED + 1)
    T, V = model["sequence"], model["vocab"]
    windows = torch.zeros(STEPS * SEQUENCES, T, dtype=torch.int32)
    for row in windows:
        for t in range(1, T):
            surprise = torch.rand((), generator=generator).item() < 0.3
            drawn = torch.randint(1, V, (), generator=generator).item()
            row[t] = drawn if surprise or t == 1 else (3 * int(row[t - 1]) + 1) % V
    return windows


def causal_softmax(scores):
    T = scores.shape[-1]
    return scores.masked_fill(torch.ones(T, T, dtype=torch.bool).triu(1), float("-inf")).softmax(-1)


def gpt2_norm(p, name, x):
    return F.layer_norm(x, (x.shape[-1],), p[name + ".weight"], p[name + ".bias"], 1e-5)


def gpt2_attention(model, p, name, x):
    B, T, C = x.shape
    H = model["heads"]
    qkv = F.linear(x, p[name + ".qkv.weight"].reshape(3 * C, C), p[name + ".qkv.bias"].reshape(3 * C))
    q, k, v = qkv.reshape(B, T, H, 3, C // H).permute(3, 0, 2, 1, 4)
    probabilities = causal_softmax(q @ k.transpose(-1, -2) / math.sqrt(C // H))
    out = (probabilities @ v).transpose(1, 2).reshape(B, T, C)
    return F.linear(out, p[name + ".projection.weight"], p[name + ".projection.bias"])


def gpt2_mlp(p, name, x):
    hidden = F.gelu(F.linear(x, p[name + ".fc.weight"], p[name + ".fc.bias"]), approximate="tanh")
    return F.linear(hidden, p[name + ".projection.weight"], p[name + ".projection.bias"])


def gpt2_logits(model, p, tokens):
    x = p["embedding.token.weight"][tokens] + p["embedding.position.weight"][:tokens.shape[1]]
    for i in range(model["layers"]):
        x = x + gpt2_attention(model, p, f"blocks.{i}.attention", gpt2_norm(p, f"blocks.{i}.attention.norm", x))
        x = x + gpt2_mlp(p, f"blocks.{i}.mlp", gpt2_norm(p, f"blocks.{i}.mlp.norm", x))
    return F.linear(gpt2_norm(p, "norm", x), p["embedding.token.weight"])


def llama_norm(model, p, name, x):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + model["norm_eps"]) * p[name + ".weight"]


def rotary_frequencies(model, dtype):
    """Returns the frequency of each pair, scaled like Hugging Face's "llama3"."""
    D = model["hidden"] // model["heads"]
    frequencies = 1.0 / model["rope_theta"] ** (torch.arange(0, D, 2, dtype=torch.float64) / D)
    if "rope_factor" in model:
        factor, original = model["rope_factor"], model["rope_original_sequence"]
        low, high = model["rope_low_freq_factor"], model["rope_high_freq_factor"]
        scaled = []
        for frequency in frequencies.tolist():
            wavelength = 2 * math.pi / frequency
            if wavelength < original / high:
                scaled.append(frequency)
            elif wavelength > original / low:
                scaled.append(frequency / factor)
            else:
                smooth = (original / wavelength - low) / (high - low)
                scaled.append((1 - smooth) * frequency / factor + smooth * frequency)
        frequencies = torch.tensor(scaled, dtype=torch.float64)
    return frequencies.to(dtype)


def rotate(model, x):
    """Turns x (B, heads, T, D): the two halves of a head are the parts of complex numbers."""
    half = x.shape[-1] // 2
    angles = torch.outer(torch.arange(x.shape[2], dtype=x.dtype), rotary_frequencies(model, x.dtype))
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], -1)


def llama_attention(model, p, name, x):
    B, T, C = x.shape
    H, G = model["heads"], model["kv_heads"]
    R, D = H // G, C // H
    weight = p[name + ".qkv.weight"]
    q = F.linear(x, weight[:, :R].reshape(H * D, C)).reshape(B, T, H, D).transpose(1, 2)
    k = F.linear(x, weight[:, R].reshape(G * D, C)).reshape(B, T, G, D).transpose(1, 2)
    v = F.linear(x, weight[:, R + 1].reshape(G * D, C)).reshape(B, T, G, D).transpose(1, 2)
    k = rotate(model, k).repeat_interleave(R, dim=1)
    v = v.repeat_interleave(R, dim=1)
    probabilities = causal_softmax(rotate(model, q) @ k.transpose(-1, -2) / math.sqrt(D))
    out = (probabilities @ v).transpose(1, 2).reshape(B, T, C)
    return F.linear(out, p[name + ".projection.weight"])


def llama_mlp(p, name, x):
    gate, up = p[name + ".gate_up.weight"]
    return F.linear(F.silu(F.linear(x, gate)) * F.linear(x, up), p[name + ".projection.weight"])


def llama_logits(model, p, tokens):
    x = p["embedding.token.weight"][tokens]
    for i in range(model["layers"]):
        block = f"blocks.{i}"
        x = x + llama_attention(model, p, f"{block}.attention", llama_norm(model, p, f"{block}.attention.norm", x))
        x = x + llama_mlp(p, f"{block}.mlp", llama_norm(model, p, f"{block}.mlp.norm", x))
    table = p["embedding.token.weight" if model["tied"] else "head.weight"]
    return F.linear(llama_norm(model, p, "norm", x), table)


def logits_of(model, p, tokens):
    return gpt2_logits(model, p, tokens) if model["family"] == "gpt2" else llama_logits(model, p, tokens)


def learning_rate(step):
    o = OPTIMIZER
    if step < o["warmup_steps"]:
        return o["lr"] * (step + 1) / o["warmup_steps"]
    progress = (step - o["warmup_steps"]) / (STEPS - o["warmup_steps"])
    return o["min_lr"] + 0.5 * (o["lr"] - o["min_lr"]) * (1 + math.cos(math.pi * progress))


def train(model, weights, windows, dtype):
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
        loss = F.cross_entropy(logits_of(model, p, tokens).flatten(0, 1), targets.flatten())
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(p.values(), o["grad_clip"]).item())
        losses.append(loss.item())
        optimizer.step()
    return {"losses": losses, "gradient_norms": norms}


def write_fixture(folder, name, model):
    weights, windows = draw_weights(model), draw_windows(model)
    fixture = {"torch": torch.__version__, "model": model, "optimizer": OPTIMIZER, "steps": STEPS,
               "sequences": SEQUENCES,
               "parameters": [{"name": name, "shape": list(value.shape)} for name, value in weights.items()],
               "float64": train(model, weights, windows, torch.float64),
               "float32": train(model, weights, windows, torch.float32)}
    doubles = {name: value.double() for name, value in weights.items()}
    logits = logits_of(model, doubles, windows[:SEQUENCES].long())
    (folder / f"pytorch_{name}.json").write_text(json.dumps(fixture, indent=1) + "\n")
    with open(folder / f"pytorch_{name}.bin", "wb") as file:
        for value in [*weights.values(), windows, logits]:
            file.write(value.numpy().tobytes())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
    parser.add_argument("--output", type=pathlib.Path, default=default, help="folder (default: tests/fixtures)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, model in MODELS.items():
        write_fixture(arguments.output, name, model)


if __name__ == "__main__":
    main()
