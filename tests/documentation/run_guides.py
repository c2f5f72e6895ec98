#!/usr/bin/env python3
"""Runs the commands of the guides, each guide in an empty folder, as its reader would.

run_guides.py BUILD [GUIDE...]: blocks of sh are run in order; a block of TOML is written to the file
that its first line names; a block after `<!-- not run: REASON -->` is left out, with its reason told.
BUILD has the programs. The folder has links to docs, launch and tests, and build/release.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from pages import ROOT, Page

LIMIT_S = 300


def script_of(page):
    lines = ["set -euo pipefail", "source launch/mpi_environment"]
    for block in page.blocks:
        if block.reason:
            print(f"{page.name}:{block.line}: not run: {block.reason}")
        elif block.language == "toml":
            name = block.lines[0].removeprefix("# ")
            lines += [f"cat >{name} <<'END_OF_FILE'", *block.lines, "END_OF_FILE"]
        elif block.language == "sh":
            lines += [f"echo '== {page.name}:{block.line}'", *block.lines]
    return "\n".join(lines) + "\n"


def run_guide(page, build):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="guide."))
    try:
        for name in ("docs", "launch", "tests"):
            (folder / name).symlink_to(ROOT / name)
        (folder / "build").mkdir()
        (folder / "build/release").symlink_to(build)
        environment = os.environ | {"PATH": f"{build}:{os.environ['PATH']}", "HOME": str(folder)}
        done = subprocess.run(["bash", "-c", script_of(page)], cwd=folder, env=environment, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=LIMIT_S)
        if done.returncode == 0:
            return True
        print(done.stdout, f"{page.name}: the command ended with {done.returncode}", sep="\n")
        return False
    finally:
        shutil.rmtree(folder)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    wanted = sys.argv[2:]
    good = True
    for path in sorted((ROOT / "docs/guides").glob("*.md")):
        if not wanted or path.stem in wanted:
            good = run_guide(Page(path), build) and good
            print(f"{path.stem}: done", flush=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
