"""CSV files to which rows are added as soon as they are done, so that a killed command goes on.

A line that was cut off when the process was killed is passed over, and done again.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from lambda_rl.files import atomic_write

R = TypeVar("R")


def read_lines(
    path: Path, columns: Sequence[str], parsed: Callable[[list[str]], R], what: str
) -> Iterator[R]:
    """The rows of a file; none if there is no file.

    Args:
        path: the file.
        columns: that it has.
        parsed: makes a row of a line; a ``ValueError`` if it is none.
        what: the file should be, in words, such as "the rows of an atlas".

    Raises:
        ValueError: it is something else.
    """
    if not path.is_file():
        return
    lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"))))
    if not lines or lines[0] != list(columns):
        raise ValueError(f"{path}: not {what} of this version")
    for line in lines[1:]:
        if len(line) == len(columns):
            with contextlib.suppress(ValueError):
                yield parsed(line)


def add_lines(path: Path, columns: Sequence[str], lines: Iterable[Iterable[str]]) -> None:
    """Adds lines to a file, which is made if need be."""
    if not path.is_file():
        atomic_write(path, text_of([columns]))
    with path.open("rb") as last:
        last.seek(-1, os.SEEK_END)
        torn = last.read() != b"\n"
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" * torn + text_of(lines))


def text_of(lines: Iterable[Iterable[str]]) -> str:
    """Lines as CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(lines)
    return buffer.getvalue()
