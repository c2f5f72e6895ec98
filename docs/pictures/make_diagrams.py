#!/usr/bin/env python3
"""Draws the diagrams of the documentation: layers.svg, step.svg, snapshot.svg and lanes.svg.

Run docs/pictures/make_diagrams.py after a change; it writes next to itself, or into the folder that is
given, and needs Python alone. A test compares what it draws with the files.
"""
import html
import pathlib
import sys

HERE = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
FILL = {"plain": "#ffffff", "runtime": "#e3edf7", "above": "#eef5e6", "launch": "#fbf0dd",
        "memory": "#f3e8f5", "disk": "#eeeeee"}


class Drawing:
    def __init__(self, width, height, title):
        self.title, self.width, self.height, self.parts = title, width, height, []

    def box(self, x, y, w, h, lines, fill="plain", bold_first=True):
        self.parts.append(f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="6" '
                          f'fill="{FILL[fill]}" stroke="#445566"/>')
        top = y + h / 2 - 8 * (len(lines) - 1) + 4.5
        for i, line in enumerate(lines):
            weight = ' font-weight="bold"' if bold_first and i == 0 else ""
            self.text(x + w / 2, top + 16 * i, line, weight)

    def text(self, x, y, line, more="", anchor="middle"):
        self.parts.append(f'<text x="{x}" y="{y}" text-anchor="{anchor}"{more}>'
                          f'{html.escape(line)}</text>')

    def arrow(self, points, label=None, at=None, dashed=False):
        path = " ".join(f"{x},{y}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="#445566" '
                          f'stroke-width="1.5" marker-end="url(#head)"{dash}/>')
        if label:
            self.text(*at, label, ' fill="#445566"')

    def save(self, name):
        head = ('<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
                'markerHeight="8" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#445566"/></marker>')
        body = "\n".join(self.parts)
        (HERE / name).write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="sans-serif" font-size="13">\n'
            f"<title>{html.escape(self.title)}</title>\n<defs>{head}</defs>\n"
            f'<rect width="{self.width}" height="{self.height}" fill="#ffffff"/>\n{body}\n</svg>\n')


def layers():
    d = Drawing(860, 330, "Layers: launch includes models and collectives, which include runtime")
    d.box(20, 20, 560, 64, ["launch", "job files, the two programs, leases, supervisor, launchers"],
          "launch")
    d.box(20, 124, 260, 64, ["models", "GPT-2, Llama, import and export"], "above")
    d.box(320, 124, 260, 64, ["collectives", "self, threads, MPI, NCCL"], "above")
    d.box(20, 228, 560, 82, ["runtime", "train, checkpoint, data  |  module, comm  |  tensor, device",
                             "base (status, files, clock, random numbers, digests)"], "runtime")
    d.arrow([(150, 84), (150, 122)])
    d.arrow([(450, 84), (450, 122)])
    d.arrow([(300, 84), (300, 226)])
    d.arrow([(150, 188), (150, 226)])
    d.arrow([(450, 188), (450, 226)])
    d.box(640, 20, 200, 290, ["tests, bench", "may include everything;", "nothing includes them"])
    d.arrow([(640, 165), (582, 165)], dashed=True)
    d.save("layers.svg")


def step():
    d = Drawing(960, 400, "One step of training on one rank")
    top = [("1 batch", "tokens of the rank's", "microbatches"), ("2 schedule", "forward and backward", "of each microbatch"),
           ("3 gradients", "lanes meet in the", "canonical tree"), ("4 + 5 agree", "tied sums, norm,", "losses, votes"),
           ("6 update", "AdamW on the", "own shard")]
    for i, lines in enumerate(top):
        d.box(15 + 189 * i, 30, 165, 72, list(lines), "runtime")
        if i:
            d.arrow([(15 + 189 * i - 24, 66), (15 + 189 * i - 2, 66)])
    streams = [("host", 150), ("compute stream", 220), ("communication stream", 290), ("memory tier's thread", 360)]
    for name, y in streams:
        d.text(156, y + 5, name, ' font-size="12"', "end")
        d.parts.append(f'<line x1="165" y1="{y}" x2="945" y2="{y}" stroke="#ccd3da"/>')
    d.box(170, 133, 90, 34, ["read tokens"], bold_first=False)
    d.box(225, 203, 330, 34, ["forward and backward, microbatch by microbatch"], "above", False)
    d.box(380, 273, 190, 34, ["buckets, as they are ready"], "launch", False)
    d.box(590, 273, 130, 34, ["one exchange"], "launch", False)
    d.box(740, 203, 90, 34, ["AdamW"], "above", False)
    d.box(840, 273, 105, 34, ["gather weights"], "launch", False)
    d.box(225, 343, 250, 34, ["copy of the state of the step before"], "memory", False)
    d.arrow([(260, 150), (290, 150), (290, 201)])
    d.arrow([(480, 237), (480, 271)])
    d.arrow([(570, 290), (588, 290)])
    d.arrow([(720, 290), (780, 290), (780, 239)])
    d.arrow([(830, 220), (890, 220), (890, 271)])
    d.arrow([(475, 360), (808, 360), (808, 239)], "the update waits for the copy", (640, 354), True)
    d.save("step.svg")


def snapshot():
    d = Drawing(960, 420, "The life of a snapshot")
    d.box(20, 30, 170, 60, ["state of step s", "weights and moments"], "runtime")
    d.box(270, 30, 190, 60, ["own snapshot buffer", "/dev/shm of this node"], "memory")
    d.box(560, 30, 190, 60, ["partner's buffer", "/dev/shm of another node"], "memory")
    d.arrow([(190, 60), (268, 60)], "copy", (229, 52))
    d.arrow([(460, 60), (558, 60)], "4 MiB blocks", (509, 52))
    d.box(270, 150, 480, 60, ["committed", "whole on every rank and partner: voted with the scalars of a later step"], "above")
    d.arrow([(365, 90), (365, 148)])
    d.arrow([(655, 90), (655, 148)])
    d.box(20, 270, 250, 60, ["checkpoint", "files, written from the pinned buffer"], "disk")
    d.box(345, 270, 250, 60, ["replaced", "the next snapshot was committed"])
    d.box(670, 270, 270, 60, ["restored from", "by the next generation, on any layout"], "launch")
    d.arrow([(330, 210), (330, 240), (145, 240), (145, 268)], "when a save is due", (240, 234))
    d.arrow([(470, 210), (470, 268)])
    d.arrow([(690, 210), (690, 240), (805, 240), (805, 268)], "a rank, node or lease ended", (800, 234))
    d.box(345, 360, 250, 44, ["buffers go when the run is done"], bold_first=False)
    d.arrow([(470, 330), (470, 358)])
    d.arrow([(805, 330), (805, 382), (597, 382)], "once the generation committed its own", (770, 402))
    d.save("snapshot.svg")


def lanes():
    d = Drawing(760, 330, "Eight microbatches in four lanes, which meet in one tree, on two ranks")
    d.box(110, 20, 300, 128, [], "runtime")
    d.box(430, 20, 300, 128, [], "above")
    d.text(260, 38, "rank 0", ' font-weight="bold"')
    d.text(580, 38, "rank 1", ' font-weight="bold"')
    for lane in range(4):
        x = 125 + 145 * lane + (20 if lane >= 2 else 0)
        for half in range(2):
            d.box(x + 62 * half, 50, 56, 30, [str(2 * lane + half)], bold_first=False)
        d.arrow([(x + 28, 80), (x + 28, 108), (x + 38, 108)])
        d.arrow([(x + 90, 80), (x + 90, 108), (x + 81, 108)])
        d.box(x + 38, 96, 43, 26, [f"lane {lane}"], bold_first=False)
    d.text(100, 70, "microbatches", anchor="end")
    d.text(100, 113, "lanes", anchor="end")
    d.text(100, 205, "tree", anchor="end")
    d.text(100, 282, "gradient", anchor="end")
    for pair, x in enumerate((257, 567)):
        d.box(x - 45, 188, 90, 30, [f"{2 * pair} + {2 * pair + 1}"], bold_first=False)
        left = 125 + 290 * pair + (20 if pair else 0) + 60
        d.arrow([(left, 122), (left, 160), (x - 20, 160), (x - 20, 186)])
        d.arrow([(left + 145, 122), (left + 145, 160), (x + 20, 160), (x + 20, 186)])
    d.box(345, 262, 150, 34, ["(0 + 1) + (2 + 3)"])
    d.arrow([(257, 218), (257, 240), (390, 240), (390, 260)])
    d.arrow([(567, 218), (567, 240), (450, 240), (450, 260)])
    d.save("lanes.svg")


layers()
step()
snapshot()
lanes()
