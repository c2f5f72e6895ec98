#!/usr/bin/env python3
"""Takes a dry run of every job in launch/examples, and looks that each of its lines is explained.

check_examples.py BUILD: the data is a short text; the vocabulary is that of the example's tokenizer.
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib

from pages import ROOT

# Ranks to forecast, the ids of the tokenizer that the example is for, and GiB of a GPU that are enough.
JOBS = {
    "bible.toml": (2, 256, None),
    "gpt2_124m.toml": (8, 50257, 24),
    "llama3_8b.toml": (8, 128256, 80),
    "finetune.toml": (4, 128256, 24),
}
EXPLAINED_BEFORE = {"bible.toml", "bible_leases.toml", "leases.toml"}  # explained by their heads


def unexplained(path):
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if re.match(r"[a-z]", line) and "#" not in line:
            yield number, line


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    examples = ROOT / "launch/examples"
    jobs = {path.name for path in examples.glob("*.toml") if "run" in tomllib.loads(path.read_text())}
    assert jobs == set(JOBS), f"jobs without a dry run here: {jobs ^ set(JOBS)}"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="examples."))
    good = True
    try:
        (folder / "text.txt").write_text("In the beginning was the word. " * 6000)
        subprocess.run([build / "leasehold", "prepare", "--tokenizer", "byte", "--output", folder,
                        "--validation-fraction", "0.2", folder / "text.txt"], check=True, capture_output=True)
        for name, (world, vocab, gib) in JOBS.items():
            settings = [f"data.train={folder}/train.bin", f"data.validation={folder}/validation.bin",
                        f"model.vocab={vocab}", f"run.dir={folder}/run"]
            words = [word for setting in settings for word in ("--set", setting)]
            done = subprocess.run([build / "leasehold-train", examples / name, "--dry-run", "--world", str(world),
                                   *words], text=True, capture_output=True, timeout=120)
            total = re.search(r"^  total +(\d+)", done.stdout, re.M)
            if done.returncode != 0 or total is None:
                print(name, done.stdout, done.stderr)
                good = False
            elif gib is not None and int(total.group(1)) > gib * 2**30:
                print(f"{name}: {total.group(1)} bytes do not fit {gib} GiB")
                good = False
        for path in sorted(examples.glob("*.toml")):
            if path.name in EXPLAINED_BEFORE:
                continue
            for number, line in unexplained(path):
                print(f"{path.name}:{number}: no comment: {line}")
                good = False
        assert not (folder / "run").exists(), "a dry run made run.dir"
    finally:
        shutil.rmtree(folder)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
