#!/usr/bin/env python3
"""Asks a real supervisor as docs/http_interface.md says.

check_http.py BUILD: launches a job on a virtual node, runs the page's program, expects a report of the
node in the state, reads /metrics with the scraper's token, compares the metrics with the page's table,
expects refusals without a proof, and drains the job.
"""
import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from pages import ROOT, Page

JOB = """
[run]
dir = "run"
steps = 1000000
[model]
layers = 1
hidden = 32
heads = 2
sequence = 16
[data]
train = "data/train.bin"
[batch]
sequences = 4
[optimizer]
lr = 1e-3
[lease]
calendar = "leases.toml"
[launch]
margin_s = 1
"""
LIMIT_S = 120


def ask(port, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers or {})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def wait_for(what, ready):
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        found = ready()
        if found:
            return found
        time.sleep(0.2)
    sys.exit(f"{what}: not within {LIMIT_S} s")


def check(build, folder, page):
    program = next(block for block in page.blocks if block.language == "python")
    (folder / "state.py").write_text(program.text)
    control_file = folder / "run/supervisor/control.json"
    wait_for("control.json", control_file.exists)
    control = json.loads(control_file.read_text())
    port = control["operator_port"]

    def state():
        asked = subprocess.run([sys.executable, folder / "state.py", folder / "run"], text=True,
                               capture_output=True, timeout=60)
        assert asked.returncode == 0, asked.stderr
        told = json.loads(asked.stdout)
        return told if told["nodes"] and told["nodes"][0]["step"] > 0 else None

    told = wait_for("a report", state)
    assert set(told) == {"now_s", "doing", "nodes", "state"}, set(told)
    named = set(re.findall(r"`([a-z_]+)`", page.text()))
    assert set(told["nodes"][0]) - {"heard_s"} <= named, set(told["nodes"][0]) - named

    status, text = ask(port, "/metrics", {"Authorization": "Bearer " + control["scraper_token"]})
    assert status == 200, text
    served = set(re.findall(r"^# TYPE (leasehold_\w+)", text, re.M))
    documented = set(re.findall(r"^\| `(leasehold_\w+)", page.text(), re.M))
    assert served == documented, served ^ documented
    assert ask(port, "/metrics")[0] == 401
    assert ask(port, "/state", {"Authorization": "Bearer " + control["scraper_token"]})[0] == 401


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="http."))
    job = None
    try:
        (folder / "job.toml").write_text(JOB)
        (folder / "leases.toml").write_text('[[lease]]\nid = "a"\nhosts = ["a"]\nslots = 1\n')
        (folder / "text.txt").write_text("The lease ends at noon, and the node leaves. " * 200)
        subprocess.run([build / "leasehold", "prepare", "--tokenizer", "byte", "--output", folder / "data",
                        folder / "text.txt"], check=True, capture_output=True, timeout=60)
        log = (folder / "launch.log").open("w")
        start = f'source "{ROOT}/launch/mpi_environment"; exec "$0" launch job.toml'
        job = subprocess.Popen(["bash", "-c", start, build / "leasehold"], cwd=folder, stdout=log, stderr=log,
                               env=os.environ | {"PATH": f"{build}:{os.environ['PATH']}"})
        try:
            check(build, folder, Page(ROOT / "docs/http_interface.md"))
            subprocess.run([build / "leasehold", "drain", folder / "run"], check=True, timeout=60)
            assert job.wait(LIMIT_S) == 75, job.returncode
        except BaseException:
            print((folder / "launch.log").read_text())
            raise
    finally:
        if job is not None and job.poll() is None:
            job.terminate()  # drains
            job.wait(LIMIT_S)
        if (folder / "run").exists():
            subprocess.run([build / "leasehold", "clean", folder / "run"], capture_output=True, timeout=60)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
