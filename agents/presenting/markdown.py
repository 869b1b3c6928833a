"""Markdown: tables, and pages whose marked blocks are filled out of files, so that their numbers come from there.

A block is what stands between ``<!-- block: NAME -->`` and ``<!-- end: NAME -->``. All other text is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lambda_rl.files import atomic_write

_BLOCK = re.compile(r"<!-- block: (?P<name>\S+) -->\n(?P<body>.*?)<!-- end: (?P=name) -->", re.DOTALL)


def cell_text(value: Any) -> str:
    """A cell of a table: text and whole numbers as they are, ``[mean, low, high]`` with its interval."""
    if isinstance(value, (list, tuple)):
        mean, low, high = value
        if mean is None:
            return "–"
        shown = f"{mean:.2f}"
        return shown if low is None or high is None else f"{shown} [{low:.2f}, {high:.2f}]"
    return str(value).replace("|", "\\|")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(map(cell_text, line))} |\n" for line in lines)


def block_names(text: str) -> list[str]:
    """Names of the blocks in a page."""
    return [match["name"] for match in _BLOCK.finditer(text)]


NOT_MEASURED = "*Not measured yet.*"


def fill(text: str, made: Mapping[str, str], instead: str | None = NOT_MEASURED) -> str:
    """The page with its blocks filled.

    Args:
        text: the page.
        made: contents of blocks by name.
        instead: what a block says that cannot be filled; None: what it says already.

    Raises:
        ValueError: the page has no blocks, or lacks one that could be filled.
    """
    present = block_names(text)
    missing = sorted(set(made) - set(present))
    if not present or missing:
        what = f"lacks the blocks {', '.join(missing)}" if present else "has no blocks to fill"
        raise ValueError(f"the page {what}")

    def filled(match: re.Match[str]) -> str:
        name = match["name"]
        body = made.get(name, match["body"] if instead is None else instead + "\n")
        return f"<!-- block: {name} -->\n{body}<!-- end: {name} -->"

    return _BLOCK.sub(filled, text)


def fill_page(page: Path, made: Mapping[str, str], instead: str | None = NOT_MEASURED) -> bool:
    """Fills the blocks of a page in place.

    Args:
        page: the file.
        made: contents of blocks by name.
        instead: see :func:`fill`.

    Returns:
        Whether it changed.

    Raises:
        FileNotFoundError: no such page.
        ValueError: see :func:`fill`; the message names the page.
    """
    old = page.read_text(encoding="utf-8")
    try:
        new = fill(old, made, instead)
    except ValueError as error:
        raise ValueError(f"{page}: {error}") from None
    if new != old:
        atomic_write(page, new)
    return new != old
