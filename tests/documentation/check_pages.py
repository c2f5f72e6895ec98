#!/usr/bin/env python3
"""Checks what the documentation says against the repository and the programs.

check_pages.py BUILD: links and anchors, lines of at most 100 columns, files that are named, commands
and options against the programs' --help, keys against `leasehold job-keys` and the calendar's table,
events and messages against the sources, the list of decisions, and that every command of a guide
runs in a test or says why not. Prints each offence; exit code 1 if there is one.
"""
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib

from pages import ROOT, all_pages, documents

offences = []


def offend(page, line, text):
    offences.append(f"{page.name}:{line}: {text}")


# --- Links, lines, files ---


def check_links(pages):
    by_name = {page.name: page for page in pages}
    for page in pages:
        for line, link in page.links():
            if "://" in link or link.startswith("mailto:"):
                continue
            target, _, anchor = link.partition("#")
            path = os.path.normpath(os.path.join(os.path.dirname(page.name), target)) if target else page.name
            if not (ROOT / path).exists():
                offend(page, line, f"the link {link} leads nowhere")
            elif anchor and (path not in by_name or anchor not in by_name[path].anchors()):
                offend(page, line, f"{path} has no heading for #{anchor}")


def check_width(pages):
    for page in pages:
        if page.name == "CHANGELOG.md":
            continue
        for line, text in page.prose:
            if len(text) > 100 and not text.startswith(("|", "![", "<!--", "    ")) and " " in text.strip():
                offend(page, line, f"{len(text)} columns: tests/documentation/wrap_pages.py {page.name}")


FOLDERS = ("runtime/", "collectives/", "models/", "launch/", "tests/", "bench/", "docs/", "cmake/")


def check_named_files(pages):
    for page in pages:
        for line, span in page.spans():
            word = span.split(" ")[0].rstrip(":,")
            if word.startswith(FOLDERS) and re.fullmatch(r"[\w./-]+", word) and page.name != "CHANGELOG.md":
                is_pattern = re.search(r"[A-Z]{3}", word)
                if not is_pattern and not (ROOT / word).exists() and not list(ROOT.glob(word + ".*")):
                    offend(page, line, f"there is no {word}")


def check_decisions(pages):
    index = next(page for page in pages if page.name == "docs/decisions/index.md")
    listed = {link for _, link in index.links()}
    for page in pages:
        name = pathlib.Path(page.name)
        if name.parent.name != "decisions" or name.name == "index.md":
            continue
        if name.name not in listed:
            offend(page, 1, "docs/decisions/index.md does not list it")
        if not re.match(r"# \d{4}\. ", page.lines[0]) or page.lines[0][2:6] != name.name[:4]:
            offend(page, 1, "a decision begins with its number, as its file does")
        if not re.match(r"Decided \d{4}-\d{2}-\d{2}\.", page.lines[2]):
            offend(page, 3, "a decision says when it was taken: Decided YYYY-MM-DD.")


# --- Commands and options ---


class Programs:
    """The commands and options that the built programs know."""

    def __init__(self, build):
        self.build = build
        tool = self.help("leasehold", "--help")
        self.commands = set(re.findall(r"^  ([a-z][a-z-]+) {2,}", tool.split("Subcommands:")[1], re.M))
        self.options = {("leasehold", ""): self.options_in(tool)}
        for command in self.commands:
            self.options["leasehold", command] = self.options_in(self.help("leasehold", command, "--help"))
        for command in ("", "sample", "evaluate"):
            words = [command, "--help"] if command else ["--help"]
            self.options["leasehold-train", command] = self.options_in(self.help("leasehold-train", *words))
        self.all = set().union(*self.options.values())

    def help(self, program, *words):
        return subprocess.run([self.build / program, *words], stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, check=True, timeout=60).stdout

    @staticmethod
    def options_in(text):
        return set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*)", text))


# Options of other programs that the documentation names on their own.
FOREIGN_OPTIONS = {"--bind-to", "--signal", "--fmad", "--help", "--version"}


def parts_of_command(text):
    """The simple commands of a line of shell."""
    for part in re.split(r"&&|\|\||[;|]|\s#", text):
        try:
            yield shlex.split(part, posix=True)
        except ValueError:
            yield part.split()


def check_command(page, line, words, programs):
    names = [pathlib.PurePosixPath(word).name for word in words]
    for program in ("leasehold", "leasehold-train"):
        if program not in names:
            continue
        words = words[names.index(program) + 1:]
        command = words[0] if words and re.fullmatch(r"[a-z][a-z-]*", words[0]) else ""
        if program == "leasehold" and command and command not in programs.commands | {"keeper", "node"}:
            offend(page, line, f"leasehold has no command '{command}'")
            return
        if program == "leasehold-train" and command not in ("sample", "evaluate"):
            command = ""
        known = programs.options.get((program, command), programs.all)
        for word in words:
            option = word.partition("=")[0]
            if re.fullmatch(r"--[a-z][a-z-]*", option) and option not in known:
                offend(page, line, f"`{program} {command}` has no option {option}".replace(" `", "`"))
        return


def check_commands(pages, programs):
    for page in documents(pages):
        for block in page.blocks:
            if block.language in ("", "sh"):
                text = block.text.replace("\\\n", " ")
                for offset, shell in enumerate(text.split("\n")):
                    if re.match(r"\s*(\S*/)?(leasehold|mpirun|zcat|gzip)", shell):
                        for words in parts_of_command(shell):
                            check_command(page, block.line + 1 + offset, words, programs)
        for line, span in page.spans():
            if re.match(r"(mpirun .*)?leasehold(-train)? ", span):
                for words in parts_of_command(span.replace("<", "").replace(">", "")):
                    check_command(page, line, words, programs)
            option = re.match(r"(--[a-z][a-z-]*)\b", span)
            if option and option.group(1) not in programs.all | FOREIGN_OPTIONS:
                offend(page, line, f"no command has the option {option.group(1)}")


# --- Keys ---


def check_keys(pages, programs):
    table = programs.help("leasehold", "job-keys")
    job = set(re.findall(r"^\| `([a-z]+\.[a-z0-9_]+)`", table, re.M))
    sections = {key.split(".")[0] for key in job}
    calendar = {"lease": set(), "curtailment": set()}
    page_of_calendar = next(page for page in pages if page.name == "docs/lease_calendar.md")
    for name, rows in zip(("lease", "curtailment"), page_of_calendar.tables()):
        calendar[name] = {row[0].strip("`") for row in rows[1:]}
    for page in documents(pages):
        for line, span in page.spans():
            key = re.match(r"([a-z]+)\.([a-z][a-z0-9_]*)(?=$|[ =/:])", span)
            if key and key.group(1) in sections and key.group(0) not in job:
                lease_key = key.group(1) == "lease" and key.group(2) in calendar["lease"]
                if not lease_key and not key.group(2) in ("safetensors", "json", "md"):
                    offend(page, line, f"there is no key {key.group(0)}")
        for block in page.blocks:
            if block.language != "toml" or block.lines[0] == "# misspelt.toml":
                continue
            try:
                parsed = tomllib.loads(block.text)
            except tomllib.TOMLDecodeError as problem:
                offend(page, block.line, f"not TOML: {problem}")
                continue
            for section, value in parsed.items():
                if isinstance(value, list):
                    for entry in value:
                        for key in set(entry) - calendar.get(section, set()):
                            offend(page, block.line, f"[[{section}]] has no key {key}")
                else:
                    for key in value:
                        if f"{section}.{key}" not in job:
                            offend(page, block.line, f"there is no key {section}.{key}")


# --- Events and messages, against the sources ---


def sources(*patterns):
    for pattern in patterns:
        for path in sorted(ROOT.glob(pattern)):
            yield path.read_text(encoding="utf-8")


LITERALS = re.compile(r'"((?:[^"\\\n]|\\.)*)"((?:\s*"(?:[^"\\\n]|\\.)*")*)')


def messages_of(text):
    for match in LITERALS.finditer(text):
        joined = match.group(1) + "".join(re.findall(r'"((?:[^"\\\n]|\\.)*)"', match.group(2)))
        yield joined.replace('\\"', '"').replace("\\n", "\n").replace("{{", "{").replace("}}", "}")


def check_messages(pages):
    said = "\0".join(message for text in sources("runtime/**/*.cc", "runtime/**/*.h", "launch/**/*.cc",
                                                 "launch/**/*.h", "collectives/*.cc",
                                                 "collectives/**/*.cc", "models/*.cc")
                     for message in messages_of(text))
    for page in pages:
        for rows in page.tables():
            if rows[0][0] != "the message has":
                continue
            for row in rows[1:]:
                for fragment in re.findall(r"`([^`]+)`", row[0]):
                    if fragment not in said:
                        offend(page, 0, f"no program says \"{fragment}\" any more")


EVENT = re.compile(
    r'(?:\bevent_?\(|\bevents\.push_back\(\s*\{|\brecord\(\{|\bnotices_\.push_back\(\s*\{|\bappend_event\(|'
    r'SupervisorEvent\{|Notice\{|return \{\{(?="calendar_))\s*(?:[\w.>() =-]+\?\s*)?"([a-z]+(?:_[a-z]+)*)"(?:\s*:\s*"([a-z_]+)")?')


def check_events(pages):
    in_sources = set()
    for text in sources("runtime/**/*.cc", "launch/supervisor/*.cc", "launch/*.cc"):
        for match in EVENT.finditer(text):
            in_sources |= {name for name in match.groups() if name}
    page = next(page for page in pages if page.name == "docs/metrics_and_events.md")
    documented = set()
    for rows in page.tables():
        if rows[0][0] == "event":
            for row in rows[1:]:
                documented |= set(re.findall(r"`([a-z_]+)`", row[0]))
    for name in sorted(in_sources - documented):
        offend(page, 0, f"the event {name} is missing")
    for name in sorted(documented - in_sources):
        offend(page, 0, f"no program writes the event {name}")


def check_metrics(pages):
    """The fields of metrics.jsonl."""
    text = "".join(message for source in sources("runtime/train/metrics.cc") for message in messages_of(source))
    text += "".join(sources("runtime/train/metrics.cc"))
    written = set(re.findall(r'\\?"([a-z_]+)\\?": ', text))
    page = next(page for page in pages if page.name == "docs/metrics_and_events.md")
    table = next(rows for rows in page.tables() if rows[0][0] == "field")
    documented = {row[0].strip("`") for row in table[1:]}
    for name in sorted(written ^ documented):
        offend(page, 0, f"the field {name} of metrics.jsonl is here or in the source, not in both")


# --- English ---

OPENINGS = r"(What|Of|Whether|How|Who) [a-z]"
SENTENCE = re.compile(rf"(?:^|(?<=[.!?] )){OPENINGS}[^?.]*[.:]")
WORDS = re.compile(r"\b((?<!hidden )behind|beside|goes on|go on|went on|is there|are there already|by now)\b")


def check_english(pages):
    """Words and openings that CONTRIBUTING.md advises against. It shows them itself; keys have their own text."""
    for page in pages:
        if page.name == "CONTRIBUTING.md":
            continue
        for line, text in page.prose:
            plain = re.sub(r"`[^`]*`", "x", text)
            generated = page.name == "docs/job_file.md" and text.startswith("| `")
            for match in [] if generated else WORDS.finditer(plain):
                offend(page, line, f"\"{match.group(0)}\": see English in CONTRIBUTING.md")
        for paragraph in re.split(r"\n\s*\n|\n(?=[-|#])", page.text()):
            plain = re.sub(r"\s+", " ", re.sub(r"^[-#*\s]+", "", re.sub(r"`[^`]*`", "x", paragraph)))
            match = SENTENCE.search(plain)
            if match and not paragraph.lstrip().startswith("|"):
                offend(page, 0, f"a sentence opens with \"{match.group(0)[:40]}\": see English in CONTRIBUTING.md")


# --- Pictures ---


def check_pictures():
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-B", ROOT / "docs/pictures/make_diagrams.py", folder], check=True, timeout=60)
        for drawn in sorted(pathlib.Path(folder).iterdir()):
            kept = ROOT / "docs/pictures" / drawn.name
            if not kept.exists() or kept.read_bytes() != drawn.read_bytes():
                offences.append(f"docs/pictures/{drawn.name}: run docs/pictures/make_diagrams.py, which draws another one")


# --- Guides ---


def check_guides(pages):
    for page in pages:
        if not page.name.startswith("docs/guides/"):
            continue
        for block in page.blocks:
            if block.language == "toml" and not re.fullmatch(r"# [\w.]+\.toml", block.lines[0]):
                offend(page, block.line, "a guide's TOML begins with its file's name: # job.toml")
            if block.language not in ("sh", "toml", "yaml", ""):
                offend(page, block.line, f"a guide has commands (sh), TOML and output, no {block.language}")
            if block.language == "" and re.match(r"(leasehold|mpirun|launch/)", block.lines[0]):
                offend(page, block.line, "commands are in blocks of sh, which a test runs")


def main():
    programs = Programs(pathlib.Path(sys.argv[1]).resolve())
    pages = all_pages()
    check_links(pages)
    check_width(pages)
    check_named_files(pages)
    check_decisions(pages)
    check_commands(pages, programs)
    check_keys(pages, programs)
    check_messages(pages)
    check_events(pages)
    check_metrics(pages)
    check_guides(pages)
    check_english(pages)
    check_pictures()
    if offences:
        print(*offences, sep="\n")
    print(f"{len(pages)} pages, {len(offences)} offences")
    sys.exit(1 if offences else 0)


if __name__ == "__main__":
    main()
