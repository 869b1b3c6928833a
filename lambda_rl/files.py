"""Writing files so that an interruption never leaves a broken one."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: str | Path, *, fsync: bool = False) -> Iterator[Path]:
    """Gives a temporary path beside ``path``; renames it to ``path`` when the block ends well.

    If the block raises, the temporary file is removed and ``path`` stays as it was. Only a process that is killed
    leaves one, see :func:`sweep`.

    Args:
        path: the file to write; missing parent folders are made.
        fsync: wait until the content is on the disk before the rename. Without it a power cut may leave an empty or
            a partial file of that name; a killed process never does.

    Yields:
        The temporary path to write to. It has the same suffix as ``path``, since some writers choose the format by it.

    Raises:
        OSError: it cannot be written; the message names ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{secrets.token_hex(4)}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        if fsync:
            with temporary.open("r+b") as file:  # Windows wants a file that may be written to
                os.fsync(file.fileno())
        os.replace(temporary, path)
        if fsync:
            _sync_folder(path.parent)
    except OSError as error:
        # A full disk names no file, and the temporary name means nothing to the user.
        if error.filename is None or os.fspath(error.filename) == str(temporary):
            error.filename = str(path)
            del error.filename2  # None would be shown
        raise
    finally:
        with contextlib.suppress(OSError):  # what made the block fail is what should be told
            temporary.unlink()


def atomic_write(path: str | Path, data: bytes | memoryview | str, *, fsync: bool = False) -> None:
    """Writes ``data`` to ``path`` by way of a temporary file and a rename; text is written as UTF-8.

    Args:
        path: the file to write; missing parent folders are made.
        data: its content.
        fsync: see :func:`atomic_path`.

    Raises:
        OSError: it cannot be written; the message names ``path``.
    """
    with atomic_path(path, fsync=fsync) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def sweep(path: str | Path) -> None:
    """Removes the temporary files of ``path`` that killed processes left beside it.

    Those of other processes that are running stay. One of this process's number counts as left behind: in a
    container the same number comes again after each start. Call it where no other thread writes ``path``; of a
    folder that other machines write to as well, only under a lock, since their processes cannot be seen from here.

    Args:
        path: a file written with :func:`atomic_path`; it need not exist.
    """
    path = Path(path)
    pattern = re.compile(rf"\.{re.escape(path.stem)}\.(\d+)\.[0-9a-f]{{8}}{re.escape(path.suffix)}")
    with contextlib.suppress(OSError):  # no such folder, or one that must not be written to
        for left in list(path.parent.iterdir()):
            match = pattern.fullmatch(left.name)
            if match and (int(match[1]) == os.getpid() or not _is_running(int(match[1]))):
                left.unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    """Whether there is a process of that number; True where that cannot be found out."""
    if os.name == "nt":
        return True  # there, os.kill would end it
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        return True
    return True


def _sync_folder(folder: Path) -> None:
    """Makes a rename last through a power cut, where the system can."""
    if os.name == "nt":
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
