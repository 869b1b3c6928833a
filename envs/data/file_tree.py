"""A tree of files with links followed: what a folder on the disk and an archive have in common."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

MAX_FILE_BYTES = 64 << 20  # far above any image; a compressed archive of 1 MB can hold a file of gigabytes


@dataclass(frozen=True)
class Entry:
    """One name within a folder.

    Attributes:
        name: the name alone, without the folder.
        kind: what is there, links followed; "other" is a pipe, a device or the like, "broken" a link that leads
            to nothing.
        place: where it really lies, in a form that the tree it comes from understands.
        linked: it is a symbolic link.
        fault: what is wrong with a broken link, to be put behind its name.
    """

    name: str
    kind: Literal["folder", "file", "other", "broken"]
    place: str
    linked: bool = False
    fault: str = ""


class FileTree(Protocol):
    """Folders and files below `root`, a place like those of the entries; `path` is where the tree itself lies."""

    path: Path
    root: str

    def entries(self, place: str) -> list[Entry]:
        """What the folder at `place` holds, sorted by name."""

    def position(self, place: str) -> int:
        """A number by which files are sorted if they are to be read as fast as possible."""

    def read(self, place: str) -> bytes:
        """The content of the file at `place`; ValueError if it exceeds `MAX_FILE_BYTES`."""


class FolderTree:
    """The tree of a folder on the disk; links may lead anywhere on it. OSErrors are those of the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = str(path)

    def entries(self, place: str) -> list[Entry]:
        """See `FileTree`."""
        with os.scandir(place) as found:
            return [_entry_on_disk(entry) for entry in sorted(found, key=lambda entry: entry.name)]

    def position(self, place: str) -> int:
        """See `FileTree`; any order will do."""
        return 0

    def read(self, place: str) -> bytes:
        """See `FileTree`."""
        with open(place, "rb") as file:
            check_size(os.fstat(file.fileno()).st_size, place)
            return file.read(MAX_FILE_BYTES)


def check_size(size: int, name: str) -> None:
    """ValueError for a file of more than `MAX_FILE_BYTES`; call it before the file is read."""
    if size > MAX_FILE_BYTES:
        raise ValueError(f"file {name} has {size:,} bytes, at most {MAX_FILE_BYTES:,} are allowed")


def _entry_on_disk(entry: os.DirEntry[str]) -> Entry:
    linked = entry.is_symlink()
    if linked and not os.path.exists(entry.path):
        fault = f"links to {os.readlink(entry.path)!r}, where nothing is"
        return Entry(entry.name, "broken", entry.path, linked, fault)
    place = os.path.realpath(entry.path) if linked else entry.path
    if entry.is_dir():
        return Entry(entry.name, "folder", place, linked)
    return Entry(entry.name, "file" if entry.is_file() else "other", place, linked)
