"""Folders and archives of a few small images, whose pixels say class and number."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lambda_rl.envs.data import folder as folder_module

CLASSES = ("cat", "dog", "owl")


def make_folder(root: Path, train: int = 4, test: int = 2) -> Path:
    """A small folder of PNG images whose pixels say class and number, to check order and labels by."""
    for part, count in (("train", train), ("test", test)):
        for label, name in enumerate(CLASSES):
            (root / part / name).mkdir(parents=True)
            for index in range(count):
                colour = (label * 50, index * 10, 200 if part == "train" else 100)
                Image.new("RGB", (32, 32), colour).save(root / part / name / f"{index:02}.png")
    return root


def make_archive(folder: Path, path: Path, prefix: str = "", mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for entry in sorted(folder.rglob("*"), reverse=True):  # not the order in which images must come out
            archive.add(entry, prefix + entry.relative_to(folder).as_posix(), recursive=False)
    return path


def count_decoding(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images decoded from now on."""
    decoded: list[str] = []
    decode = folder_module.decode_image

    def counted(data: bytes, name: str) -> np.ndarray:
        decoded.append(name)
        return decode(data, name)

    monkeypatch.setattr(folder_module, "decode_image", counted)
    return decoded


def add_link(tar: tarfile.TarFile, name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    tar.addfile(info)


def add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def png(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (grey,) * 3).save(buffer, "png")
    return buffer.getvalue()


def with_more(small: Path, *more: Callable[[tarfile.TarFile], object], mode: str = "w") -> Path:
    """An archive of the small folder, and what `more` adds at its end."""
    path = small.parent / f"more.tar{mode[1:].replace(':', '.')}"
    with tarfile.open(path, mode, compresslevel=1) if mode == "w:gz" else tarfile.open(path, "w") as tar:
        tar.add(small, ".")
        for add in more:
            add(tar)
    return path
