"""The decoded images of one part of a data set, kept as one uint8 safetensors file named by content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lambda_rl.files import atomic_write, sweep

CACHE_VARIABLE = "LAMBDA_RL_CACHE"
# Part of every key: raise it when the format, what counts as an image, decoding or the synthetic recipe changes.
CACHE_VERSION = "2"

Part = tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]
"""Images uint8 [n, 3, 32, 32], labels int64 [n], class names."""


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """The folder of the cache: the argument, else `LAMBDA_RL_CACHE`, else the user's cache folder."""
    if cache_dir is not None:
        return Path(cache_dir).expanduser()
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("lambda-rl")


def content_fingerprint(images: torch.Tensor, labels: torch.Tensor) -> str:
    """SHA-256 (hex) of images and labels, with their shapes."""
    digest = hashlib.sha256()
    for tensor in (images, labels):
        digest.update(repr((str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def to_part(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64], classes: tuple[str, ...]) -> Part:
    """Arrays as contiguous tensors of the right types."""
    return (
        torch.from_numpy(np.ascontiguousarray(images, np.uint8)),
        torch.from_numpy(np.ascontiguousarray(labels, np.int64)),
        classes,
    )


def cached(folder: Path, key: str, make: Callable[[], Part]) -> tuple[Part, str]:
    """The part stored under `key`, or the one that `make` gives, which is then stored.

    A file that cannot be read, or whose content is not what was written, is made again. Where the folder
    cannot be written to, the part is returned all the same, and made again at the next start. What processes
    that were killed left half-written in the folder is removed before a file is written.

    Args:
        folder: where the cache is; made when missing.
        key: names the content of the source and the part of it, and not where it lies.
        make: decodes the source.

    Returns:
        The part, and the fingerprint of its content.
    """
    path = folder / f"{hashlib.sha256(f'{CACHE_VERSION}:{key}'.encode()).hexdigest()[:32]}.safetensors"
    found = _read(path)
    if found is not None:
        return found
    part = make()
    images, labels, classes = part
    fingerprint = content_fingerprint(images, labels)
    metadata = {"fingerprint": fingerprint, "classes": json.dumps(classes), "key": key}
    # Read-only or full: go on without a cache.
    with contextlib.suppress(OSError, SafetensorError):
        _sweep(folder)
        # Not safetensors' own save_file: it makes files that only their owner can read, and a temporary one of
        # a name by which it cannot be told whose it was.
        atomic_write(path, save({"images": images, "labels": labels}, metadata))
    return part, fingerprint


def _sweep(folder: Path) -> None:
    """Removes what killed processes left, of whatever part.

    To the processes of other machines that share the folder it may do so while they write; they go on without
    a cache then.
    """
    for stem in {left.name.split(".")[1] for left in folder.glob(".*.*.*.safetensors")}:
        sweep(folder / f"{stem}.safetensors")


def _read(path: Path) -> tuple[Part, str] | None:
    """What the cache file holds, or None where it is missing, truncated or altered."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            images, labels = file.get_tensor("images"), file.get_tensor("labels")
        classes = tuple(json.loads(metadata["classes"]))
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    fingerprint = content_fingerprint(images, labels)
    if metadata.get("fingerprint") != fingerprint:
        return None
    return (images, labels, classes), fingerprint
