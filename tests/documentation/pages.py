"""Reads the Markdown of the repository: links, headings, code blocks and code spans."""
import pathlib
import re
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[2]
SKIPPED = {"build", "data", "runs", ".git"}


class Block:
    """A fenced block of code: its language, first line and lines, and why it is not run (or "")."""

    def __init__(self, language, line, reason):
        self.language, self.line, self.reason, self.lines = language, line, reason, []

    @property
    def text(self):
        return "\n".join(self.lines) + "\n"


class Page:
    def __init__(self, path):
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.lines = path.read_text(encoding="utf-8").split("\n")
        self.blocks, self.prose = [], []  # prose: (number, line)
        block, reason, fence = None, "", ""
        for number, line in enumerate(self.lines, 1):
            opening = re.match(r"\s*(```+)(\w*)", line)
            if block is None and opening:
                fence = opening.group(1)
                block = Block(opening.group(2), number, reason)
            elif block is not None and line.strip() == fence:
                self.blocks.append(block)
                block, reason = None, ""
            elif block is not None:
                block.lines.append(line)
            else:
                mark = re.match(r"<!-- not run: (.+) -->$", line)
                reason = mark.group(1) if mark else (reason if not line.strip() else "")
                self.prose.append((number, line))

    def text(self):
        return "\n".join(line for _, line in self.prose)

    def headings(self):
        return [line.lstrip("#").strip() for _, line in self.prose if re.match(r"#{1,6} ", line)]

    def anchors(self):
        """As GitHub and as mkdocs make them of the headings."""
        found = set()
        for heading in self.headings():
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
            github = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
            ascii_text = unicodedata.normalize("NFKD", plain).encode("ascii", "ignore").decode()
            site = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", ascii_text).strip().lower())
            if github == site:
                found.add(site)
        return found

    def links(self):
        """(line, target) of each link and picture."""
        text = self.text()
        plain = re.sub(r"`[^`]*`", lambda span: re.sub(r"[^\n]", "x", span.group(0)), text)
        for match in re.finditer(r"\[[^\]]*\]\(([^)\s]+)\)", plain):
            start, end = match.span(1)
            yield self.prose[plain[:start].count("\n")][0], text[start:end]

    def spans(self):
        """(line, text) of each span of code, which may go over a line's end."""
        for match in re.finditer(r"(?<!`)`([^`]+)`(?!`)", self.text()):
            number = self.prose[self.text()[:match.start()].count("\n")][0]
            yield number, re.sub(r"\s+", " ", match.group(1))

    def tables(self):
        """Each table as a list of rows of cells; the first row is the header."""
        rows = []
        for _, line in self.prose + [(0, "")]:
            if line.startswith("|"):
                cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
                if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                    rows.append(cells)
            elif rows:
                yield rows
                rows = []


def all_pages():
    paths = sorted(path for path in ROOT.rglob("*.md")
                   if not SKIPPED & set(path.relative_to(ROOT).parts[:1]))
    return [Page(path) for path in paths]


def documents(pages):
    """Those for users: docs, the README and the READMEs of examples."""
    return [page for page in pages if page.name.startswith(("docs/", "README", "launch/examples"))]
