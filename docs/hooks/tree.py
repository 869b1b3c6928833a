"""Links of the documentation that lead out of it: what they name becomes a page of the site.

Pages in ``docs/`` link to files and folders of the checkout, as they are read there. In the site a file of code is a
page that shows it, a folder one that lists it, and a page of Markdown a page, too.
"""

from __future__ import annotations

import ast
import os
import re
from collections import deque
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent

TREE = "tree"
"""Where in the site stands what is outside of ``docs/``."""

ALWAYS = ("CONTRIBUTING.md", "CHANGELOG.md", *(f"lambda_rl/policy/shipped/{name}.md" for name in (
    "any-loop", "cifar-mlp", "cifar-mixed")))  # fmt: skip
"""What becomes a page though no page may link to it."""

SHOWN = {".py": "python", ".yaml": "yaml"}
"""Languages of files, by what these end in."""

_CODE = re.compile(r"(^ *(?P<fence>```+).*?^ *(?P=fence)$)", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"(?<=\]\()(?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?(?=\))")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds a page for all that pages link to, and for what these pages link to."""
    sources = [Path(file.abs_src_path) for file in files.documentation_pages() if file.abs_src_path]
    waiting, seen = deque([*sources, *(ROOT / name for name in ALWAYS)]), set(sources)
    while waiting:
        path = waiting.popleft()
        if path not in sources:
            files.append(File.generated(config, place(path), content=content(path)))
        for target in linked(path):
            if target not in seen and not _is_in_the_site(target):
                seen.add(target)
                waiting.append(target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs's
    """Turns the links of a page in ``docs/``; pages that were made here have them turned already."""
    uri = page.file.src_uri
    return markdown if uri.startswith(f"{TREE}/") else turned(markdown, DOCS / uri, uri)


def place(path: Path) -> str:
    """The page of a file or folder, as a path from the top of the site's sources."""
    inside = _is_inside(path)
    name = path.relative_to(DOCS if inside else ROOT).as_posix()
    at = name if inside else f"{TREE}/{name}"
    if path.suffix == ".ipynb":
        return f"{at.removesuffix('.ipynb')}.md"
    if path.is_dir():
        return f"{at}/{'README' if inside and (path / 'README.md').exists() else 'index'}.md"
    return at if inside or path.suffix == ".md" else f"{at}.md"


def content(path: Path) -> str:
    """The Markdown of the page of a file or folder."""
    if path.is_dir():
        return _listing(path)
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return turned(text, path, place(path))
    language = SHOWN.get(path.suffix, "text")
    return f"# {path.name}\n\n`{path.relative_to(ROOT)}`\n\n`````{language}\n{text.rstrip()}\n`````\n"


def linked(path: Path) -> list[Path]:
    """The files and folders that a file links to, or a folder outside of ``docs/`` holds."""
    if path.is_dir():
        return [] if _is_inside(path) else [child for child in _children(path) if child.is_file()]
    if path.suffix != ".md":
        return []
    parts = _CODE.split(path.read_text(encoding="utf-8"))[::3]
    targets = [match["target"] for part in parts for match in _LINK.finditer(part)]
    found = [(path.parent / target).resolve() for target in targets]
    return [target for target in found if target.exists() and target.is_relative_to(ROOT)]


def turned(text: str, source: Path, at: str) -> str:
    """A page's text with its links as they are in the site; code is left as it is.

    Args:
        text: Markdown.
        source: its file, which links are relative to.
        at: its page, which they shall be relative to.
    """

    def turn(match: re.Match[str]) -> str:
        target = (source.parent / match["target"]).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):
            return match[0]
        return os.path.relpath(place(target), os.path.dirname(at)) + (match["anchor"] or "")  # noqa: PTH120

    parts = _CODE.split(text)
    parts[::3] = [_LINK.sub(turn, part) for part in parts[::3]]
    return "".join(part for i, part in enumerate(parts) if i % 3 != 2)


def _is_inside(path: Path) -> bool:
    """Whether it is part of the site's sources; these hooks are not."""
    return path.is_relative_to(DOCS) and not path.is_relative_to(DOCS / "hooks")


def _is_in_the_site(path: Path) -> bool:
    return _is_inside(path) and (path.is_file() or (path / "README.md").exists())


def _children(folder: Path) -> list[Path]:
    return sorted(
        child
        for child in folder.iterdir()
        if child.name != "__pycache__" and (child.is_dir() or child.suffix in (".py", ".yaml", ".md"))
    )


def _listing(folder: Path) -> str:
    """The files of a folder, with the first line of what each says about itself."""
    inside = _is_inside(folder)
    rows = []
    for path in sorted(folder.iterdir()) if inside else _children(folder):
        name = f"`{path.name}/`" if path.is_dir() else f"`{path.name}`"
        if path.is_file():
            name = f"[{name}]({path.name if inside else os.path.relpath(place(path), f'{place(folder)}/..')})"
        rows.append(f"| {name} | {_about(path)} |\n")
    title = folder.relative_to(ROOT).as_posix()
    return f"# {title}\n\n| file | what it is |\n| --- | --- |\n{''.join(rows)}"


def _about(path: Path) -> str:
    if path.suffix == ".py":
        words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        return words.partition("\n")[0].replace("|", "\\|")
    return f"{path.stat().st_size:,} bytes" if path.is_file() else "a folder"
