#!/usr/bin/env python3
"""Compares training steps of GPT-2 124M in Leasehold with the same steps in PyTorch on this machine.

Both run as processes of their own, one after the other, in turns, so that a machine that is slow for a while is slow
for both: the same batch, precision, threads and optimizer. With --device cuda, on the machine's first GPU: PyTorch then
with scaled_dot_product_attention, fused AdamW and, with --compile, torch.compile. A process's figure is tokens / median step time after a warm-up;
the result is the ratio of the medians over the rounds. --build names the build that holds bench/train_step, --python any
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
    for name, default in [("batch", 4), ("sequence", 64), ("threads", 2), ("warmup", 1), ("steps", 3)]:
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--microbatch", type=int, help="sequences of a microbatch (default: all)")
    parser.add_argument("--vocab", type=int, default=50257)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--compile", action="store_true", help="torch.compile PyTorch's model")
    a = parser.parse_args()
    a.microbatch = a.microbatch or a.batch
    return a


def step_flags(a):
    names = ["batch", "microbatch", "sequence", "vocab", "warmup", "steps", "device", "precision"]
    if a.device == "cpu":
        names.append("threads")
    return [flag for name in names for flag in ("--" + name, str(getattr(a, name)))]


def run(command):
    if shutil.which(command[0]) is None:
        sys.exit(f"compare_pytorch: there is no program {command[0]}; build with: cmake --build --preset release (or see --help)")
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=1800)
    if finished.returncode != 0:
        sys.exit(f"compare_pytorch: {' '.join(map(str, command))} ended with {finished.returncode}")
    return finished.stdout


def run_leasehold(a):
    with tempfile.TemporaryDirectory() as folder:
        result = pathlib.Path(folder) / "train_step.json"
        run([a.build / "bench" / "train_step", *step_flags(a), "--no-floor", "--json", result])
        return json.loads(result.read_text())


def run_pytorch(a):
    return json.loads(run([a.python, HERE / "compare_pytorch_step.py", *step_flags(a),
                           *(["--compile"] if a.compile else [])]))


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def describe(figures, a):
    """Who is compared, on what: from the first round's answers."""
    ours, theirs = figures["leasehold"][0], figures["pytorch"][0]
    version = run([a.build / "leasehold", "--version"]).strip()
    return {"processor": processor(), "leasehold": version, "arithmetic": ours["arithmetic_class"],
            "pytorch": theirs["torch"], "pytorch_optimizer": theirs["optimizer"],
            "pytorch_instructions": theirs["instructions"]}


def main():
    a = parse_arguments()
    figures = {"leasehold": [], "pytorch": []}
    where = f"{a.threads} threads" if a.device == "cpu" else a.device
    print(f"{processor()}, {os.cpu_count()} CPUs")
    print(f"GPT-2 124M, {a.precision}, {a.batch} x {a.sequence} tokens, {where}; tokens/s\n")
    print(f"{'round':>6} {'leasehold':>10} {'pytorch':>10}")
    for i in range(a.rounds):
        # Who begins changes too.
        turns = [("leasehold", run_leasehold), ("pytorch", run_pytorch)]
        for name, measure in turns if i % 2 == 0 else reversed(turns):
            figures[name].append(measure(a))
        if i == 0:
            who = describe(figures, a)
        ours, theirs = (figures[name][-1]["tokens_per_s"] for name in ("leasehold", "pytorch"))
        print(f"{i + 1:>6} {ours:>10.1f} {theirs:>10.1f}", flush=True)
    figures = {name: [answer["tokens_per_s"] for answer in answers] for name, answers in figures.items()}
    medians = {name: statistics.median(values) for name, values in figures.items()}
    ratio = medians["leasehold"] / medians["pytorch"]
    print(f"{'median':>6} {medians['leasehold']:>10.1f} {medians['pytorch']:>10.1f}\n\nratio of medians: {ratio:.2f}")
    print(f"  {who['leasehold']}: {who['arithmetic']}\n  PyTorch {who['pytorch']}: {who['pytorch_instructions']}, "
          f"{who['pytorch_optimizer']} AdamW")
    result = {**who, "device": a.device, "precision": a.precision, "compile": a.compile, "batch": a.batch,
              "microbatch": a.microbatch, "sequence": a.sequence, "vocab": a.vocab, "threads": a.threads,
              "steps": a.steps, "cpus": os.cpu_count(), "tokens_per_s": figures, "medians": medians, "ratio": ratio}
    if a.json:
        a.json.write_text(json.dumps(result, indent=1) + "\n")
    else:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
