#!/usr/bin/env python3
"""Runs the programs of docs/checkpoint_format.md on what a real run wrote.

check_formats.py BUILD: trains a few steps on two layouts, and expects the page's reader to find the
same weights as `leasehold export` wrote, and the state digest that `leasehold inspect` prints (where
Python has xxhash); then reads a snapshot's description with the run's key, and with another one.
"""
import array
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

from pages import ROOT, Page

JOB = """
[run]
dir = "{run}"
steps = 8
[model]
layers = 2
hidden = 32
heads = 2
sequence = 16
[data]
train = "{data}/train.bin"
[batch]
sequences = 4
[optimizer]
lr = 1e-3
[checkpoint]
snapshot = "every"
"""


def programs_of_page(folder):
    page = Page(ROOT / "docs/checkpoint_format.md")
    blocks = [block for block in page.blocks if block.language == "python"]
    for name, block in zip(("read_checkpoint.py", "read_snapshot.py"), blocks, strict=True):
        (folder / name).write_text(block.text)


def run(*command, code=0):
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, timeout=400)
    if done.returncode != code:
        sys.exit(f"{command}: exit code {done.returncode}, {code} is expected\n{done.stdout}{done.stderr}")
    return done.stdout


def exported_tensor(path, key):
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    begin, end = json.loads(data[8:8 + size])[key]["data_offsets"]
    return array.array("f", data[8 + size + begin:8 + size + end])


def check_checkpoint(build, folder, run_dir, name):
    sys.path.insert(0, str(folder))
    import read_checkpoint
    directory = run_dir / "checkpoints/step-00000005"
    manifest, tensors = read_checkpoint.read_checkpoint(directory)
    assert manifest["step"] == 5, manifest["step"]
    run(build / "leasehold", "export", directory, folder / f"exported-{name}")
    exported = folder / f"exported-{name}" / "model.safetensors"
    for ours, theirs in (("embedding.token.weight", "transformer.wte.weight"),
                         ("blocks.1.mlp.norm.weight", "transformer.h.1.ln_2.weight")):
        assert tensors[ours, "weight"][1] == exported_tensor(exported, theirs), ours
    inspected = json.loads(run(build / "leasehold", "inspect", directory, "--json"))
    if read_checkpoint.xxh3_128 is None:
        print("Python has no xxhash (Debian: python3-xxhash): digests are not compared")
        return
    digest = read_checkpoint.state_digest(manifest, tensors)
    assert digest == inspected["state_digest"], (digest, inspected)
    damaged = directory / manifest["files"][0]["name"]
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    run(sys.executable, folder / "read_checkpoint.py", directory, code=1)


def check_snapshot(build, folder, run_dir):
    sys.path.insert(0, str(folder))
    import read_snapshot
    lineage = next(line for line in (run_dir / "events.jsonl").read_text().split("\n") if '"initialized"' in line)
    lineage = json.loads(lineage)["lineage"]
    key = bytes.fromhex((run_dir / "key").read_text())
    found = []
    for path in pathlib.Path("/dev/shm").glob("leasehold-*.json"):
        try:
            text = json.loads(path.read_bytes().rstrip(b" ")[:-65])
        except (OSError, ValueError):
            continue  # of another run, and changing
        if text["lineage"] != lineage:
            continue
        description = read_snapshot.read_description(path, key)
        assert description["format"] == "leasehold-snapshot", description
        found.append(description["step"])
        run(sys.executable, folder / "read_snapshot.py", run_dir, path)
        try:
            read_snapshot.read_description(path, b"another key".ljust(32))
            sys.exit("another key opened the snapshot")
        except SystemExit as refusal:
            assert "not sealed" in str(refusal), refusal
    # Which steps have one follows from how long a copy takes.
    assert found and set(found) <= {1, 2, 3, 4, 5}, found


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="formats."))
    try:
        programs_of_page(folder)
        (folder / "text.txt").write_text("The lease ends at noon, and the node leaves. " * 200)
        run(build / "leasehold", "prepare", "--tokenizer", "byte", "--output", folder / "data",
            folder / "text.txt")
        for name, command in (("one", []), ("tensor", ["bash", "-c",
                              f'source "{ROOT}/launch/mpi_environment"; mpirun -np 2 --bind-to none "$@"', "-"])):
            run_dir = folder / name
            (folder / "job.toml").write_text(JOB.format(run=run_dir, data=folder / "data"))
            parallel = ["--set", "parallel.tensor=2"] if command else []
            run(*command, build / "leasehold-train", folder / "job.toml", "--stop-after", 5, *parallel, code=75)
            try:
                check_snapshot(build, folder, run_dir)
            finally:
                run(build / "leasehold", "clean", run_dir)
            check_checkpoint(build, folder, run_dir, name)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
