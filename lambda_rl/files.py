"""Writing files so that an interruption never leaves a broken one."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Gives a temporary path beside ``path``; renames it to ``path`` when the block ends well.

    If the block raises, the temporary file is removed and ``path`` stays as it was.

    Args:
        path: the file to write; missing parent folders are made.

    Yields:
        The temporary path to write to. It has the same suffix as ``path``, since some writers choose the format by it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{secrets.token_hex(4)}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(path: str | Path, data: bytes | str) -> None:
    """Writes ``data`` to ``path`` by way of a temporary file and a rename; text is written as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)
