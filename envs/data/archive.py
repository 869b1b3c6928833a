"""Tar archives, which may come from anyone, read in memory: nothing is extracted, so nothing reaches the disk.

Python's `tarfile` ends in silence where a header is broken, and leaves the checksum of a compressed archive
unread. Both would lose images unnoticed; here both are errors.
"""

from __future__ import annotations

import posixpath
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lambda_rl.envs.data.file_tree import Entry, check_size

MAX_HEADER_BYTES = 16 << 20  # of long names and extended attributes, which tarfile reads at one go
_MAX_HOPS = 40  # links followed for one name, as in Linux
_WITHIN_HEADERS = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE)


def is_archive(path: Path) -> bool:
    """Whether the file at `path` begins as a tar archive, compressed or not."""
    try:
        with tarfile.open(path, tarinfo=_Header):
            return True
    except Exception:  # see `_damage_named`
        return False


@contextmanager
def open_archive(path: Path) -> Iterator[ArchiveTree]:
    """The files of an archive; its headers are read, and its checksum compared if it is compressed.

    Raises:
        ValueError: it is damaged or cut short.
    """
    with _damage_named(path):
        archive = tarfile.open(path, tarinfo=_Header)  # noqa: SIM115
    with archive:
        yield ArchiveTree(archive, path)


class ArchiveTree:
    """The tree of an archive (a `FileTree`); its places are the members' names, normalised.

    As on extraction, the last of several members of one name counts, a hard link is the file that had its
    target's name up to there, and a symbolic link starts from its folder. A link that leaves the archive, or
    leads to nothing within, is a broken entry.
    """

    def __init__(self, archive: tarfile.TarFile, path: Path) -> None:
        self.path = path
        self.root = ""
        self._archive = archive
        self._members: dict[str, tarfile.TarInfo] = {}
        self._children: dict[str, set[str]] = {"": set()}
        self._last_read = (-1, b"")
        with _damage_named(path):
            for member in archive:
                self._add(member)
            while archive.fileobj.read(1 << 20):  # the checksum is compared at the end of the stream
                pass

    def entries(self, place: str) -> list[Entry]:
        """See `FileTree`."""
        return [self._entry(place, name) for name in sorted(self._children.get(place, ()))]

    def position(self, place: str) -> int:
        """See `FileTree`; a compressed archive can only be read forwards."""
        return self._members[place].offset_data

    def read(self, place: str) -> bytes:
        """See `FileTree`.

        Raises:
            ValueError: too large, or the archive is damaged.
        """
        member = self._members[place]
        check_size(member.size, f"{place} in {self.path}")
        # Files that are linked to are asked for again at once; to go back, all would be decompressed anew.
        if self._last_read[0] != member.offset_data:
            with _damage_named(self.path):
                file = self._archive.extractfile(member)
                self._last_read = (member.offset_data, file.read() if file else b"")
        return self._last_read[1]

    def _add(self, member: tarfile.TarInfo) -> None:
        if member.size < 0:  # tarfile would go backwards, and round for ever
            raise tarfile.ReadError(f"member {member.name!r} has a negative size")
        member.pax_headers = {}  # not needed, and large ones would add up
        name = _normalised(member.name)
        target = self._members.get(_normalised(member.linkname)) if member.islnk() else None
        self._members[name] = member if target is None or target.isdir() else target
        while name:  # archives need not list their folders
            folder, _, last = name.rpartition("/")
            if last in self._children.setdefault(folder, set()):
                break
            self._children[folder].add(last)
            name = folder

    def _entry(self, folder: str, name: str) -> Entry:
        place = f"{folder}/{name}" if folder else name
        if not _is_link(self._members.get(place)):
            return self._entry_at(place, name)
        try:
            return self._entry_at(self._follow(folder, name), name, linked=True)
        except _BrokenLinkError as error:
            return Entry(name, "broken", place, True, str(error))

    def _entry_at(self, place: str, name: str, linked: bool = False) -> Entry:
        member = self._members.get(place)
        if place in self._children or member is None or member.isdir():
            return Entry(name, "folder", place, linked)
        return Entry(name, "file" if member.isfile() else "other", place, linked)

    def _follow(self, folder: str, name: str) -> str:
        """The place that the link `name` in `folder` leads to in the end; raises `_BrokenLinkError`."""
        done, todo, hops = folder.split("/") if folder else [], [name], 0
        while todo:
            part = todo.pop()
            if part == "..":
                if not done:
                    raise _BrokenLinkError("links to what is outside of the archive")
                done.pop()
            elif part not in ("", "."):
                done.append(part)
            place = "/".join(done)
            member = self._members.get(place)
            if member is not None and _is_link(member):
                hops += 1
                done.pop()
                todo += self._target(place, member, hops).split("/")[::-1]
            elif member is None and place not in self._children:
                raise _BrokenLinkError(f"links to {place!r}, which the archive does not hold")
        return "/".join(done)

    def _target(self, place: str, member: tarfile.TarInfo, hops: int) -> str:
        """What the link at `place` says, if it can be followed."""
        target = member.linkname
        if member.islnk():
            raise _BrokenLinkError(f"is a hard link to {target!r}, which the archive does not hold before it")
        if target.startswith("/"):
            raise _BrokenLinkError(f"links to {target!r}, which is outside of the archive")
        if hops > _MAX_HOPS:
            raise _BrokenLinkError(f"links to {target!r}, which leads on to more than {_MAX_HOPS} links")
        if place in self._children:
            raise _BrokenLinkError("is a link and has members of its own")
        return target


class _BrokenLinkError(Exception):
    """Says what is wrong with a link, to be put behind its name."""


class _Header(tarfile.TarInfo):
    """Refuses what `tarfile` takes for the end of the archive, or reads into memory whatever its size."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Header:
        try:
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if len(buf) == tarfile.BLOCKSIZE and not any(buf):  # zeros are the mark of the archive's end
                raise
            raise tarfile.ReadError(f"it is cut short, or a header is broken ({error})") from error
        if header.type in _WITHIN_HEADERS and not 0 <= header.size <= MAX_HEADER_BYTES:
            raise tarfile.ReadError(
                f"a header has {header.size:,} bytes, at most {MAX_HEADER_BYTES:,} are allowed"
            )
        return header


def _normalised(name: str) -> str:
    """The name "./train//a" as "train/a"; of an absolute one, as on extraction, without the slash in front."""
    name = posixpath.normpath(name).lstrip("/")
    return "" if name == "." else name


def _is_link(member: tarfile.TarInfo | None) -> bool:
    return member is not None and (member.issym() or member.islnk())


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Whatever `tarfile` raises becomes a ValueError that names the archive."""
    try:
        yield
    except Exception as error:  # many kinds: TarError, EOFError, zlib.error, LZMAError, RecursionError, …
        raise ValueError(f"archive {path} is damaged: {error}") from error
