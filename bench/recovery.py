#!/usr/bin/env python3
"""Times how a supervised run comes back after a rank was killed, beside mpirun starting and ending an empty program.

`leasehold launch` trains the quickstart's model on two virtual nodes of one rank each. In every round the ranks are stopped
(SIGSTOP), mpirun starts and ends build/release/bench/empty_mpi on as many ranks, the ranks go on, and one of them gets
SIGKILL, by turns. Formulas are in bench/README.md. Needs the quickstart's data (data/bible) or --data DIR.
"""
import argparse
import calendar
import json
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "build/release"
CALENDAR = """
[[lease]]
id = "first"
hosts = ["node-a"]
slots = 1

[[lease]]
id = "second"
hosts = ["node-b"]
slots = 1
"""
PARTS = ["detection", "decision", "start", "restore", "first step"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps-between", type=int, default=30, help="steps of a generation before its rank is killed")
    parser.add_argument("--data", type=pathlib.Path, default=ROOT / "data/bible", help="folder that leasehold prepare made")
    parser.add_argument("--json", help="file for the figures")
    return parser.parse_args()


def unix_time(text):
    """Of an event's time, 2026-11-22T03:04:57.615Z."""
    whole, fraction = text.rstrip("Z").split(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float("0." + fraction)


def mpi_environment():
    environment = dict(os.environ)
    if os.geteuid() == 0:
        environment.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    return environment


def bare_mpirun():
    """Seconds until MPI is there, and until mpirun has ended; with the options of the tests."""
    command = [str(PROGRAMS / "mpirun"), "-np", "2", str(PROGRAMS / "bench/empty_mpi")]
    begin = time.time()
    ended = subprocess.run(command, env=mpi_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                           timeout=120, check=True)
    return float(ended.stdout) - begin, time.time() - begin


class Run:
    def __init__(self, directory, data):
        self.run_dir = directory / "run"
        leases = directory / "leases.toml"
        leases.write_text(CALENDAR)
        settings = {"run.dir": self.run_dir, "run.steps": 1000000, "lease.calendar": leases, "checkpoint.every_steps": 0,
                    "data.train": data / "train.bin", "data.validation": data / "validation.bin"}
        command = [str(PROGRAMS / "leasehold"), "launch", str(ROOT / "launch/examples/bible.toml")]
        for key, value in settings.items():
            command += ["--set", f"{key}={value}"]
        self.log = open(directory / "launch.log", "w+")
        self.supervisor = subprocess.Popen(command, env=mpi_environment(), stdin=subprocess.DEVNULL, stdout=self.log,
                                           stderr=subprocess.STDOUT, start_new_session=True)
        self.metrics_at = 0
        self.step_times = []

    def new_lines(self):
        """Complete lines of metrics.jsonl since the last call."""
        try:
            with open(self.run_dir / "metrics.jsonl", "rb") as file:
                file.seek(self.metrics_at)
                text = file.read()
        except FileNotFoundError:
            return []
        text = text[:text.rfind(b"\n") + 1]
        self.metrics_at += len(text)
        return [json.loads(line) for line in text.splitlines()]

    def wait_for_generation(self, after, steps, timeout_s=120):
        """Until a generation newer than `after` has made so many steps; (generation, time of its first line)."""
        deadline = time.time() + timeout_s
        first, count = None, 0
        while time.time() < deadline:
            for line in self.new_lines():
                if line["generation"] > after:
                    first = first or time.time()
                    count += 1
                    if count > 1:
                        self.step_times.append(line["step_time_s"])
                    if count >= steps:
                        return line["generation"], first
            if self.supervisor.poll() is not None:
                break
            time.sleep(0.001 if first is None else 0.02)
        self.log.seek(0)
        sys.exit(f"no {steps} steps after generation {after}; leasehold launch said:\n{self.log.read()[-2000:]}")

    def ranks(self):
        """Processes by rank."""
        found = {}
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes().split(b"\0")
                environment = dict(pair.split(b"=", 1) for pair in (entry / "environ").read_bytes().split(b"\0") if b"=" in pair)
            except OSError:
                continue
            rank = environment.get(b"OMPI_COMM_WORLD_RANK", environment.get(b"PMI_RANK"))
            if f"run.dir={self.run_dir}".encode() in command and rank is not None:
                found[int(rank)] = int(entry.name)
        return found

    def event(self, name, generation):
        for line in open(self.run_dir / "events.jsonl"):
            event = json.loads(line)
            if event["event"] == name and event["generation"] == generation:
                return unix_time(event["time"])
        sys.exit(f"generation {generation} left no event {name}")

    def end(self):
        if self.supervisor.poll() is None:
            self.supervisor.send_signal(signal.SIGTERM)
            self.supervisor.wait(timeout=120)
        subprocess.run([str(PROGRAMS / "leasehold"), "clean", str(self.run_dir)], capture_output=True, check=False)
        self.log.close()


def signal_all(pids, number):
    for pid in pids:
        os.kill(pid, number)


def measure_round(run, generation, index, steps):
    """The next generation, and the seconds of this round's parts."""
    ranks = run.ranks()
    signal_all(ranks.values(), signal.SIGSTOP)
    try:
        bare_init, bare = bare_mpirun()
    finally:
        signal_all(ranks.values(), signal.SIGCONT)
    time.sleep(0.5)
    killed = time.time()
    os.kill(ranks[index % len(ranks)], signal.SIGKILL)
    following, first_line = run.wait_for_generation(generation, 1)
    times = [killed, run.event("generation_ended", generation), run.event("generation_started", following),
             run.event("started", following), run.event("restored", following), first_line]
    parts = {name: end - begin for name, begin, end in zip(PARTS, times, times[1:])}
    figures = {"total": first_line - killed, "bare start and stop": bare, "bare until MPI_Init": bare_init, **parts}
    figures["own share"] = figures["total"] - parts["detection"] - bare_init
    run.wait_for_generation(following - 1, steps - 1)
    return following, figures


def main():
    arguments = parse_arguments()
    for needed in [PROGRAMS / "leasehold", PROGRAMS / "bench/empty_mpi", arguments.data / "train.bin"]:
        if not needed.exists():
            sys.exit(f"recovery: there is no {needed}: build preset release, and run launch/quickstart once for its data")
    directory = pathlib.Path(tempfile.mkdtemp(prefix="leasehold-recovery-"))
    rounds = []
    run = Run(directory, arguments.data.resolve())
    try:
        generation, _ = run.wait_for_generation(0, arguments.steps_between)
        for index in range(arguments.rounds):
            generation, figures = measure_round(run, generation, index, arguments.steps_between)
            rounds.append(figures)
    finally:
        run.end()
        shutil.rmtree(directory, ignore_errors=True)
    medians = {name: statistics.median(figures[name] for figures in rounds) for name in rounds[0]}
    medians["usual step"] = statistics.median(run.step_times)
    medians["ratio"] = statistics.median(figures["total"] / figures["bare start and stop"] for figures in rounds)
    print(f"SIGKILL of a rank to the first new line of metrics.jsonl, 2 ranks, medians of {len(rounds)} rounds (least to most)")
    for name in rounds[0]:
        values = [figures[name] for figures in rounds]
        print(f"  {name:<20} {medians[name]:7.3f} s   ({min(values):.3f} to {max(values):.3f})")
    print(f"  total / bare start and stop: {medians['ratio']:.2f}; a step that is not the first takes {medians['usual step']:.3f} s")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"rounds": rounds, "medians": medians}, indent=2) + "\n")


if __name__ == "__main__":
    main()
