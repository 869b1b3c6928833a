"""Pages whose marked blocks are filled out of files: every number of such a page comes from a file.

A block is what stands between ``<!-- block: NAME -->`` and ``<!-- end: NAME -->``. All other text is left as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_BLOCK = re.compile(r"<!-- block: (?P<name>\S+) -->\n(?P<body>.*?)<!-- end: (?P=name) -->", re.DOTALL)


def cell_text(value: Any) -> str:
    """A cell of a table: text and whole numbers as they are, ``[mean, low, high]`` with its interval."""
    if isinstance(value, (list, tuple)):
        mean, low, high = value
        if mean is None:
            return "–"
        shown = f"{mean:.2f}"
        return shown if low is None or high is None else f"{shown} [{low:.2f}, {high:.2f}]"
    return str(value)


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table in Markdown."""
    lines = [" | ".join(columns), " | ".join("---" for _ in columns)]
    lines += [" | ".join(cell_text(value) for value in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def block_names(text: str) -> list[str]:
    """Names of the blocks in a page."""
    return [match["name"] for match in _BLOCK.finditer(text)]


def fill(text: str, made: Mapping[str, str], instead: str = "*Not measured yet.*") -> str:
    """The page with its blocks filled.

    Args:
        text: the page.
        made: contents of blocks by name.
        instead: what a block says that cannot be filled.

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
        body = made.get(name, instead + "\n")
        return f"<!-- block: {name} -->\n{body}<!-- end: {name} -->"

    return _BLOCK.sub(filled, text)
