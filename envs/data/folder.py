"""Images of a folder or tar archive in ImageFolder layout: `train/<class>/<image>`, `test/<class>/<image>`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from lambda_rl.envs.data.archive import is_archive, open_archive
from lambda_rl.envs.data.decode import IMAGE_SIZE, SUFFIXES, decode_image
from lambda_rl.envs.data.file_tree import Entry, FileTree, FolderTree

MAX_LINKED = 1_000_000  # files reached through links to folders; links in links can multiply without end
_LAYOUT = "expected train/<class>/<image> and test/<class>/<image>, possibly within one folder"

Progress = Callable[[int, int], None]
"""Called with (images decoded, images in all) now and then."""


@dataclass(frozen=True)
class _Image:
    """An image by its name below the folder that holds `train/`, by where its file really lies, and its label."""

    name: str
    place: str
    label: int


def check_source(path: Path) -> None:
    """Raise FileNotFoundError if nothing is at `path`, ValueError if it is neither folder nor tar archive."""
    if not path.exists():
        raise FileNotFoundError(f"data folder or archive {path} does not exist")
    if not path.is_dir() and not (path.is_file() and is_archive(path)):
        raise ValueError(f"{path} is neither a folder nor a (whole) tar archive such as .tar or .tar.gz")


def source_key(path: Path, part: str) -> str:
    """A hex digest that changes whenever the images of `part` ("train" or "test") may have changed.

    An archive is hashed as it is: it is one file. Of a folder, the names and bytes of the part's images are
    hashed: reading them costs far less than decoding them, and unlike time stamps it overlooks no change and
    does not decode again what was only copied. The other part's files are not opened.

    Raises:
        FileNotFoundError, ValueError: as `read_part` (for a folder, save for images that cannot be decoded).
    """
    check_source(path)
    digest = hashlib.sha256()
    if not path.is_dir():
        with path.open("rb") as archive:
            while block := archive.read(1 << 20):
                digest.update(block)
        return digest.hexdigest()
    with _open_tree(path) as tree:
        classes, images = _list_part(tree, part)
        # Names that are not UTF-8 have surrogates in Python.
        digest.update("\0".join(classes).encode("utf-8", "surrogateescape"))
        for image in images:
            digest.update(f"\0{image.name}\0".encode("utf-8", "surrogateescape"))
            digest.update(hashlib.sha256(tree.read(image.place)).digest())
    return digest.hexdigest()


def read_part(
    path: Path, part: str, progress: Progress | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...]]:
    """Decode one part of a folder or archive; no image of the other part is opened.

    Classes are the folders of `train/` in sorted order, in both parts; images come sorted by class and file
    name, and as `decode_image` makes them. Names with a leading dot, which macOS and editors leave behind, are
    passed over, and so are other endings than `SUFFIXES`. Links are followed: in an archive to its own members,
    in a folder anywhere.

    Args:
        path: a folder or an archive, which may have one leading folder around `train/` and `test/`.
        part: "train" or "test".
        progress: see `Progress`.

    Returns:
        Images uint8 [n, 3, 32, 32], labels int64 [n], class names.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: not an archive, or a damaged one; no folder of that part; a class without images or only in
            test; a link that leads nowhere, out of the archive or in a circle; an image that is a pipe or
            device, too large, or cannot be decoded. The message names it.
    """
    check_source(path)
    with _open_tree(path) as tree:
        classes, listed = _list_part(tree, part)
        images = np.empty((len(listed), 3, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        # Each is put in its place, whatever the order in which they are read fastest.
        order = sorted(range(len(listed)), key=lambda index: tree.position(listed[index].place))
        for done, index in enumerate(order, 1):
            image = listed[index]
            images[index] = decode_image(tree.read(image.place), f"{image.name} in {path}")
            if progress and (done % 500 == 0 or done == len(listed)):
                progress(done, len(listed))
    return images, np.array([image.label for image in listed], np.int64), classes


@contextmanager
def _open_tree(path: Path) -> Iterator[FileTree]:
    if path.is_dir():
        yield FolderTree(path)
    else:
        with open_archive(path) as tree:
            yield tree


def _list_part(tree: FileTree, part: str) -> tuple[tuple[str, ...], list[_Image]]:
    """Class names, and the part's images, both sorted; ValueError if laid out wrongly."""
    top = _top(tree)
    classes = _class_folders(tree, top, "train")
    held = _class_folders(tree, top, part)
    if len(classes) < 2:
        raise ValueError(
            f"{tree.path}: train/ has {len(classes)} class folders, at least 2 needed; {_LAYOUT}"
        )
    unknown = sorted(held.keys() - classes.keys())
    if unknown:
        raise ValueError(f"{tree.path}: class {unknown[0]!r} is in {part}/ but not in train/")
    if not held:
        raise ValueError(f"{tree.path}: {part}/ has no class folders; {_LAYOUT}")
    names = tuple(sorted(classes))
    images: list[_Image] = []
    for label, name in enumerate(names):
        if name in held:
            found = sorted(_images_below(tree, held[name], f"{part}/{name}"))
            if not found:
                raise ValueError(f"{tree.path}: class {part}/{name} has no images ({', '.join(SUFFIXES)})")
            images += [_Image(image, place, label) for image, place in found]
    return names, images


def _top(tree: FileTree) -> dict[str, Entry]:
    """The entries beside `train/`, which stands at the top or in one folder only."""
    top = {entry.name: entry for entry in tree.entries(tree.root)}
    if _is_folder(top, "train"):
        return top
    folders = [entry.place for entry in top.values() if entry.kind == "folder"]
    inner = [{entry.name: entry for entry in tree.entries(place)} for place in folders]
    inner = [entries for entries in inner if _is_folder(entries, "train")]
    return inner[0] if len(inner) == 1 else top


def _is_folder(entries: dict[str, Entry], name: str) -> bool:
    return name in entries and entries[name].kind == "folder"


def _class_folders(tree: FileTree, top: dict[str, Entry], part: str) -> dict[str, Entry]:
    if part in top:
        _refuse_broken(tree, top[part], part)
    if not _is_folder(top, part):
        raise ValueError(f"{tree.path} has no {part}/ folder; {_LAYOUT}")
    entries = [entry for entry in tree.entries(top[part].place) if not entry.name.startswith(".")]
    for entry in entries:
        _refuse_broken(tree, entry, f"{part}/{entry.name}")
    return {entry.name: entry for entry in entries if entry.kind == "folder"}


def _images_below(tree: FileTree, folder: Entry, name: str) -> Iterator[tuple[str, str]]:
    """Name and place of each image in a class's folder and in those below it."""
    linked = 0
    # A folder, its name, and the links through which it was reached: a circle comes by one a second time.
    waiting: list[tuple[str, str, tuple[str, ...]]] = [(folder.place, name, (folder.place,))]
    while waiting:
        place, name, through = waiting.pop()
        entries = tree.entries(place)
        linked += len(entries) if len(through) > 1 else 0
        if linked > MAX_LINKED:
            raise ValueError(f"{tree.path}: links in {name} lead to more than {MAX_LINKED:,} files")
        for entry in entries:
            full = f"{name}/{entry.name}"
            if entry.kind == "folder":
                if entry.linked and entry.place in through:
                    raise ValueError(f"{tree.path}: {full} links to a folder that it is in")
                waiting.append((entry.place, full, (*through, entry.place) if entry.linked else through))
            elif _is_image(tree, entry, full):
                yield full, entry.place


def _is_image(tree: FileTree, entry: Entry, name: str) -> bool:
    """Whether it counts; ValueError if it would, but there is nothing to read."""
    if entry.name.startswith("."):
        return False
    _refuse_broken(tree, entry, name)
    if PurePosixPath(entry.name).suffix.lower() not in SUFFIXES:
        return False
    if entry.kind != "file":
        raise ValueError(f"{tree.path}: {name} is no file but a pipe, a device or the like")
    return True


def _refuse_broken(tree: FileTree, entry: Entry, name: str) -> None:
    if entry.kind == "broken":
        raise ValueError(f"{tree.path}: {name} {entry.fault}")
