"""Hooks of mkdocs (mkdocs.yml): pages from the repository's root, and links between the two.

ARCHITECTURE.md and others stay where people look for them, and are pages of the site as well. Links
lead to pages where there is one; a link to any other file of the repository becomes its name.
"""
import os
import pathlib
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = {
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def on_config(config):
    decisions = sorted(path.name for path in (ROOT / "docs/decisions").glob("[0-9]*.md"))
    for section in config["nav"]:
        for pages in section.values():
            if isinstance(pages, list) and "decisions/index.md" in pages:
                place = pages.index("decisions/index.md")
                pages[place] = {"Decisions": ["decisions/index.md"] + ["decisions/" + name for name in decisions]}
    return config


def on_files(files, config):
    for file in [file for file in files if file.src_uri.endswith(".py")]:
        files.remove(file)
    for name in PAGES.values():
        files.append(File(name, config["docs_dir"], config["site_dir"], config["use_directory_urls"]))
    return files


def source_of(page):
    for source, name in PAGES.items():
        if page.file.src_uri == name:
            return pathlib.Path(source)
    return pathlib.Path("docs") / page.file.src_uri


def on_page_read_source(page, config):
    source = source_of(page)
    return (ROOT / source).read_text() if source.parts[0] != "docs" else None


def on_page_markdown(markdown, page, config, files):
    folder = source_of(page).parent

    def leads(match):
        picture, text, link, anchor = match.group(1), match.group(2), match.group(3), match.group(4) or ""
        if not link or "://" in link or link.startswith("mailto:"):
            return match.group(0)
        target = os.path.normpath(folder / link)
        page_name = PAGES.get(target)
        if page_name is None and target.startswith("docs/") and (ROOT / target).is_file():
            page_name = target[len("docs/"):]
        if page_name is None:
            return text if text.startswith("`") else f"{text} (`{target}`)"
        here = pathlib.PurePosixPath(page.file.src_uri).parent
        return f"{picture}[{text}]({os.path.relpath(page_name, here)}{anchor})"

    parts = re.split(r"(^```.*?^```)", markdown, flags=re.M | re.S)
    parts[::2] = [LINK.sub(leads, part) for part in parts[::2]]
    return "".join(parts)
