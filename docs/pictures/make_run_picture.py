#!/usr/bin/env python3
"""Draws the picture of the README from a run: leases and generations as bars over time, and the loss.

docs/pictures/make_run_picture.py RUN_DIR CALENDAR [OUTPUT.svg]: RUN_DIR is a run of `leasehold launch`, such as
launch/quickstart makes below runs/, CALENDAR its leases, whose times count from the first launch. Needs Python alone.
"""
import datetime
import html
import json
import pathlib
import sys
import tomllib

WIDTH, LEFT, RIGHT, TOP, BAR, GAP, LOSS = 900, 80, 20, 44, 22, 10, 130
COLORS = ["#4c78a8", "#e08a3c", "#5d9e5d", "#a26bb0", "#c25b5b"]
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def unix(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def lines_of(path):
    return [json.loads(line) for line in path.read_text().split("\n") if line]


class Run:
    """Times in seconds since the first launch."""

    def __init__(self, run_dir, calendar):
        events = lines_of(run_dir / "events.jsonl")
        self.begin = unix(events[0]["time"])
        self.generations, self.ends, self.first_steps = [], [], {}
        for event in events:
            at = unix(event["time"]) - self.begin
            if event["event"] == "generation_started":
                world = json.loads((run_dir / "generations" / str(event["generation"]) / "world.json").read_text())
                self.generations.append([at, None, [host["host"] for host in world["hosts"]]])
            elif event["event"] == "generation_ended":
                self.generations[-1][1] = at
                self.ends.append((at, self.word_for(event)))
            elif event["event"] == "first_new_step":
                self.first_steps[event["generation"]] = at
        self.end = self.generations[-1][1]
        self.losses = self.timed_losses(lines_of(run_dir / "metrics.jsonl"))
        self.leases = [(lease["hosts"], self.moment(lease.get("begin"), 0), self.moment(lease.get("end"), None))
                       for lease in tomllib.loads(calendar.read_text())["lease"]]

    @staticmethod
    def moment(text, otherwise):
        return otherwise if text is None else int(text[1:-1]) * UNITS[text[-1]]

    @staticmethod
    def word_for(event):
        if event["outcome"] != "exit code 75":
            return "node killed"
        return "node joins" if "can train instead" in event["reason"] else "lease ends"

    def timed_losses(self, steps):
        """Steps have durations and no times: those of a generation follow its first new step."""
        losses = []
        for number in sorted(self.first_steps):
            at = self.first_steps[number]
            for step in [step for step in steps if step["generation"] == number]:
                losses.append((at, step["loss"]))
                at += step["step_time_s"]
        return losses


def draw(run):
    hosts = [host for names, _, _ in run.leases for host in names]
    bottom = TOP + len(hosts) * (BAR + GAP) + 10
    height = bottom + LOSS + 40
    scale = (WIDTH - LEFT - RIGHT) / run.end
    parts = []

    def x(at):
        return round(LEFT + max(0, min(at, run.end)) * scale, 1)

    def text(at_x, at_y, words, more='text-anchor="middle"'):
        parts.append(f'<text x="{at_x}" y="{at_y}" {more}>{html.escape(words)}</text>')

    rows = {host: TOP + place * (BAR + GAP) for place, host in enumerate(hosts)}
    for place, (names, begin, end) in enumerate(run.leases):
        color = COLORS[place % len(COLORS)]
        until = run.end if end is None else end
        for host in names:
            y = rows[host]
            text(LEFT - 8, y + 15, host, 'text-anchor="end"')
            parts.append(f'<rect x="{x(begin)}" y="{y}" width="{x(until) - x(begin):.1f}" height="{BAR}" '
                         f'fill="{color}" fill-opacity="0.25"/>')
            for started, ended, members in run.generations:
                if host in members:
                    parts.append(f'<rect x="{x(started)}" y="{y + 4}" width="{x(ended) - x(started) - 1.5:.1f}" '
                                 f'height="{BAR - 8}" fill="{color}"/>')
    highest, lowest = max(loss for _, loss in run.losses), min(loss for _, loss in run.losses)

    def y_of(loss):
        return round(bottom + 20 + (highest - loss) / (highest - lowest) * (LOSS - 30), 1)

    for place, (at, word) in enumerate(run.ends[:-1]):
        level = TOP - 12 - 14 * (place % 2)
        parts.append(f'<line x1="{x(at)}" y1="{level + 4}" x2="{x(at)}" y2="{height - 30}" stroke="#999" '
                     'stroke-dasharray="3 3"/>')
        text(x(at), level, word, 'text-anchor="middle" font-size="12" fill="#333"')
    every = max(1, len(run.losses) // 300)
    points = " ".join(f"{x(at)},{y_of(loss)}" for at, loss in run.losses[::every])
    parts.append(f'<polyline points="{points}" fill="none" stroke="#333" stroke-width="1.5"/>')
    for loss in (highest, (highest + lowest) / 2, lowest):
        text(LEFT - 8, y_of(loss) + 4, f"{loss:.1f}", 'text-anchor="end"')
    text(WIDTH - RIGHT, bottom + 24, "training loss, nats per byte", 'text-anchor="end" fill="#555"')
    text(WIDTH - RIGHT, TOP - 18, "pale: leased; solid: training", 'text-anchor="end" fill="#555"')
    parts.append(f'<line x1="{LEFT}" y1="{height - 30}" x2="{WIDTH - RIGHT}" y2="{height - 30}" stroke="#333"/>')
    step = next(step for step in (5, 10, 15, 30, 60, 300, 600) if run.end / step < 10)
    for at in range(0, int(run.end) + 1, step):
        text(x(at), height - 12, f"{at} s")
    body = "\n".join(parts)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'font-family="sans-serif" font-size="13">\n<title>Leases as bars over time (pale), the generations that '
            'trained on them (solid), and one loss curve</title>\n'
            f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n')


def main():
    output = pathlib.Path(sys.argv[3] if len(sys.argv) > 3 else pathlib.Path(__file__).parent / "run.svg")
    output.write_text(draw(Run(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))))


if __name__ == "__main__":
    main()
