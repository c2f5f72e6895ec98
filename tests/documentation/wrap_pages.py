#!/usr/bin/env python3
"""Wraps the prose of Markdown files at 100 columns, in place: wrap_pages.py FILE...

Paragraphs and list items are wrapped; tables, code, headings, pictures and comments stay.
"""
import re
import sys
import textwrap

COLUMNS = 100
STAYS = ("#", "|", "<", "    ", "![", "---")


def wrap(lines):
    wrapped, paragraph, first, rest = [], [], "", ""
    in_code = False

    def flush():
        nonlocal paragraph
        if paragraph:
            text = " ".join(line.strip() for line in paragraph)
            wrapped.extend(textwrap.wrap(text, COLUMNS, initial_indent=first, subsequent_indent=rest,
                                         break_long_words=False, break_on_hyphens=False))
        paragraph = []

    for line in lines:
        line = line.rstrip()
        if re.match(r"\s*(```|~~~)", line) or in_code:
            flush()
            in_code = in_code != bool(re.match(r"\s*(```|~~~)", line))
            wrapped.append(line)
        elif not line or line.startswith("|") or (line.startswith(STAYS) and not paragraph):
            flush()
            wrapped.append(line)
        else:
            item = re.match(r"(\s*)([-*]|\d+\.)(\s+)", line)
            if item:
                flush()
                first, rest = item.group(0), " " * len(item.group(0))
                line = line[item.end():]
            elif not paragraph:
                first = rest = re.match(r"\s*", line).group(0)
            paragraph.append(line)
    flush()
    return wrapped


def main():
    for name in sys.argv[1:]:
        with open(name, encoding="utf-8") as file:
            lines = wrap(file.read().split("\n"))
        with open(name, "w", encoding="utf-8") as file:
            file.write("\n".join(lines).rstrip("\n") + "\n")


if __name__ == "__main__":
    main()
