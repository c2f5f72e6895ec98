#!/usr/bin/env python3
"""Compares training steps of GPT-2 124M in Leasehold with the same steps in PyTorch on this machine.

Both run as processes of their own, one after the other, in turns, so that a machine that is slow for a while is slow
for both: the same batch, precision, threads and optimizer. With --device cuda, on the machine's first GPU: PyTorch then
with scaled_dot_product_attention and fused AdamW, both eager and through torch.compile unless --compile says which. Each
vocabulary is a comparison of its own: GPT-2's 50257, and on a GPU also 50304, the next multiple of 64, which PyTorch's users
pad to. A process's figure is tokens / median step time after a warm-up; a result is the ratio of the medians over the rounds. --build names the build that holds bench/train_step, --python any
interpreter that imports torch: Debian's, or that of a virtual environment with PyTorch from PyPI.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=HERE.parent / "build" / "release")
    parser.add_argument("--python", default="/usr/bin/python3", help="an interpreter with PyTorch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    for name, default in [("batch", 4), ("sequence", 64), ("threads", 2)]:
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--warmup", type=int, help="steps that are not counted (1; on a GPU 5)")
    parser.add_argument("--steps", type=int, help="steps that are (3; on a GPU 20)")
    parser.add_argument("--microbatch", type=int, help="sequences of a microbatch (default: all)")
    parser.add_argument("--vocab", type=int, nargs="+", help="vocabularies (50257; on a GPU 50257 50304)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", choices=["yes", "no", "both"], help="torch.compile for PyTorch's model (no; on a GPU both)")
    a = parser.parse_args()
    is_gpu = a.device == "cuda"
    a.microbatch = a.microbatch or a.batch
    a.warmup = (5 if is_gpu else 1) if a.warmup is None else a.warmup
    a.steps = (20 if is_gpu else 3) if a.steps is None else a.steps
    a.vocab = a.vocab or ([50257, 50304] if is_gpu else [50257])
    a.compile = a.compile or ("both" if is_gpu else "no")
    return a


def step_flags(a, vocab):
    names = ["batch", "microbatch", "sequence", "warmup", "steps", "device", "precision"]
    if a.device == "cpu":
        names.append("threads")
    return ["--vocab", str(vocab)] + [flag for name in names for flag in ("--" + name, str(getattr(a, name)))]


def run(command):
    if shutil.which(command[0]) is None:
        sys.exit(f"compare_pytorch: there is no program {command[0]}; build with: cmake --build --preset release (or see --help)")
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=1800)
    if finished.returncode != 0:
        sys.exit(f"compare_pytorch: {' '.join(map(str, command))} ended with {finished.returncode}")
    return finished.stdout


def run_leasehold(a, vocab):
    with tempfile.TemporaryDirectory() as folder:
        result = pathlib.Path(folder) / "train_step.json"
        run([a.build / "bench" / "train_step", *step_flags(a, vocab), "--no-floor", "--json", result])
        return json.loads(result.read_text())


def run_pytorch(a, vocab, compiled):
    return json.loads(run([a.python, HERE / "compare_pytorch_step.py", *step_flags(a, vocab),
                           *(["--compile"] if compiled else [])]))


def competitors(a, vocab):
    """Who takes turns, by name."""
    turns = {"leasehold": lambda: run_leasehold(a, vocab)}
    if a.compile != "yes":
        turns["pytorch"] = lambda: run_pytorch(a, vocab, False)
    if a.compile != "no":
        turns["pytorch, compiled"] = lambda: run_pytorch(a, vocab, True)
    return turns


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def describe(first, a):
    """Who is compared, on what: from the first round's answers."""
    theirs = next(answer for name, answer in first.items() if name != "leasehold")
    version = run([a.build / "leasehold", "--version"]).strip()
    return {"processor": processor(), "leasehold": version, "arithmetic": first["leasehold"]["arithmetic_class"],
            "pytorch": theirs["torch"], "pytorch_optimizer": theirs["optimizer"],
            "pytorch_instructions": theirs["instructions"]}


def compare(a, vocab):
    """All rounds at one vocabulary: who was compared, and their figures."""
    turns = competitors(a, vocab)
    names = list(turns)
    print(f"vocabulary {vocab}; tokens/s\n{'round':>6} " + " ".join(f"{name:>18}" for name in names))
    figures, first = {name: [] for name in names}, {}
    for i in range(a.rounds):
        # Who begins changes too.
        for name in names if i % 2 == 0 else reversed(names):
            answer = turns[name]()
            first.setdefault(name, answer)
            figures[name].append(answer["tokens_per_s"])
        print(f"{i + 1:>6} " + " ".join(f"{figures[name][-1]:>18.1f}" for name in names), flush=True)
    medians = {name: statistics.median(values) for name, values in figures.items()}
    ratios = {name: medians["leasehold"] / medians[name] for name in names[1:]}
    print(f"{'median':>6} " + " ".join(f"{medians[name]:>18.1f}" for name in names))
    for name, ratio in ratios.items():
        print(f"ratio of medians, leasehold / {name}: {ratio:.2f}")
    print()
    return describe(first, a), {"vocab": vocab, "tokens_per_s": figures, "medians": medians, "ratios": ratios}


def main():
    a = parse_arguments()
    where = f"{a.threads} threads" if a.device == "cpu" else a.device
    print(f"{processor()}, {os.cpu_count()} CPUs")
    print(f"GPT-2 124M, {a.precision}, {a.batch} x {a.sequence} tokens, {where}\n")
    results = []
    for vocab in a.vocab:
        who, result = compare(a, vocab)
        results.append(result)
    print(f"  {who['leasehold']}: {who['arithmetic']}\n  PyTorch {who['pytorch']}: {who['pytorch_instructions']}, "
          f"{who['pytorch_optimizer']} AdamW")
    result = {**who, "device": a.device, "precision": a.precision, "batch": a.batch, "microbatch": a.microbatch,
              "sequence": a.sequence, "threads": a.threads, "steps": a.steps, "cpus": os.cpu_count(),
              "comparisons": results}
    if a.json:
        a.json.write_text(json.dumps(result, indent=1) + "\n")
    else:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
