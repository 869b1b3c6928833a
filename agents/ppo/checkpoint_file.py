"""Checkpoint files: written so that a kill or a power cut leaves one that is whole, read so that damage is noticed.

A file is what ``torch.save`` makes of plain values and tensors, and behind it a digest. It is read with
``weights_only=True``, so that loading it executes nothing. PyTorch itself checks no sums: without the digest, most
files with a flipped bit would load, with other numbers in them. ``torch.load`` overlooks it.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import torch

from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.files import atomic_path, atomic_write

CHECKPOINT_FORMAT = 2

_MARK = b"\nlambda-rl sha256 "
_TRAILER = len(_MARK) + 64  # bytes: the mark and the digest in hex


def write_checkpoint(folder: RunFolder, state: dict[str, Any]) -> None:
    """Writes ``latest.pt`` and keeps the one before as ``previous.pt``.

    An interruption leaves the last one in place; a power cut leaves at least one of the two.

    Args:
        folder: of the run.
        state: nested dicts and lists of plain values and tensors.

    Raises:
        OSError: it cannot be written; the message names the file.
    """
    content = to_bytes({"format": CHECKPOINT_FORMAT, **state})
    if folder.latest.is_file():
        # A second name for the same file, so that latest.pt is there at every moment.
        with atomic_path(folder.previous) as spare:
            try:
                os.link(folder.latest, spare)
            except OSError:  # a file system without links
                shutil.copyfile(folder.latest, spare)
    atomic_write(folder.latest, content, fsync=True)


def to_bytes(state: dict[str, Any]) -> memoryview:
    """The content of a checkpoint file: what ``torch.save`` makes of a state, and its digest."""
    # Not saved into a file: torch.save tells a full disk as a RuntimeError without a name.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with buffer.getbuffer() as view:
        digest = hashlib.sha256(view).hexdigest()
    buffer.seek(0, io.SEEK_END)
    buffer.write(_MARK + digest.encode())
    return buffer.getbuffer()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is damaged, no checkpoint, or of another format; the message names the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint")
    _check_digest(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the digest fits, so somebody made it so
        raise ValueError(f"{path}: not a readable checkpoint ({first_line(error)})") from None
    if not isinstance(state, dict) or "format" not in state:
        raise ValueError(f"{path}: not a checkpoint of a training run")
    if state["format"] != CHECKPOINT_FORMAT:
        raise ValueError(
            f"{path}: checkpoint format {state['format']!r}, but this version reads {CHECKPOINT_FORMAT}"
        )
    return state


def load_newest(folder: RunFolder) -> tuple[dict[str, Any], Path] | None:
    """The last checkpoint of a run; where it is damaged the one before, which a warning tells.

    Returns:
        Its state and its file; None: there is no checkpoint yet.

    Raises:
        ValueError: neither can be used; the message names the last one.
    """
    if not (folder.latest.is_file() or folder.previous.is_file()):
        return None
    try:
        return load_checkpoint(folder.latest), folder.latest
    except (ValueError, FileNotFoundError) as error:
        try:
            state = load_checkpoint(folder.previous)
        except (ValueError, FileNotFoundError) as other:
            raise ValueError(f"{error}; and {other}") from None
        warnings.warn(f"{error}; the one before it is taken, {folder.previous}", RuntimeWarning, stacklevel=3)
        return state, folder.previous


def _check_digest(path: Path) -> None:
    digest = hashlib.sha256()
    left = path.stat().st_size - _TRAILER
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, 1 << 20))):
            digest.update(block)
            left -= len(block)
        trailer = file.read()
    if not trailer.startswith(_MARK):
        raise ValueError(
            f"{path}: not a readable checkpoint (it does not end in a digest: cut off, or of another version)"
        )
    if trailer != _MARK + digest.hexdigest().encode():
        raise ValueError(f"{path}: not a readable checkpoint (damaged: its content does not fit its digest)")


def first_line(error: Exception) -> str:
    """An error's kind and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).strip()}".split("\n")[0]
