"""Images of a folder or tar archive in ImageFolder layout: `train/<class>/<image>`, `test/<class>/<image>`.

Archives are read member by member in memory: nothing is extracted, so no member's path can reach the disk.
"""

from __future__ import annotations

import hashlib
import io
import posixpath
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

IMAGE_SIZE = 32
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".webp", ".gif", ".tif", ".tiff")

Progress = Callable[[int, int], None]
"""Called with (images decoded, images in all) now and then."""


@dataclass(frozen=True)
class _Source:
    """A folder or an archive, as names relative to the folder that holds `train/`, with "/" between parts."""

    path: Path
    folders: frozenset[str]
    files: tuple[str, ...]  # in the order in which they are read fastest
    read: Callable[[str], bytes]


def check_source(path: Path) -> None:
    """Raise FileNotFoundError if nothing is at `path`, ValueError if it is neither folder nor tar archive."""
    if not path.exists():
        raise FileNotFoundError(f"data folder or archive {path} does not exist")
    if path.is_dir():
        return
    try:
        if tarfile.is_tarfile(path):
            return
    except (OSError, EOFError, zlib.error):  # compressed, and broken within the first block
        pass
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
    with _open_source(path) as source:
        classes, labelled = _list_part(source, part)
        digest.update("\0".join(classes).encode())
        for name, _ in labelled:
            digest.update(f"\0{name}\0".encode() + hashlib.sha256(source.read(name)).digest())
    return digest.hexdigest()


def read_part(
    path: Path, part: str, progress: Progress | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], tuple[str, ...]]:
    """Decode one part of a folder or archive; no image of the other part is opened.

    Classes are the folders of `train/` in sorted order, in both parts; images come sorted by class and file
    name. An image of another size is brought to 32×32 (bilinear, antialiased), one of another mode (grey,
    palette, alpha) to RGB.

    Args:
        path: a folder or an archive, which may have one leading folder around `train/` and `test/`.
        part: "train" or "test".
        progress: see `Progress`.

    Returns:
        Images uint8 [n, 3, 32, 32], labels int64 [n], class names.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        ValueError: not an archive, no folder of that part, a class without images or only in test, or an
            image that cannot be decoded; the message names it.
    """
    check_source(path)
    with _open_source(path) as source:
        classes, labelled = _list_part(source, part)
        slot = {name: index for index, (name, _) in enumerate(labelled)}
        images = np.empty((len(slot), 3, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
        done = 0
        # A compressed archive can only be read forwards: read in its order, put each image in its place.
        for name in source.files:
            if name not in slot:
                continue
            images[slot[name]] = _decode(source.read(name), f"{name} in {path}")
            done += 1
            if progress and (done % 500 == 0 or done == len(slot)):
                progress(done, len(slot))
    return images, np.array([label for _, label in labelled], np.int64), classes


@contextmanager
def _open_source(path: Path) -> Iterator[_Source]:
    if path.is_dir():
        root = path
        if not (path / "train").is_dir():
            inner = [entry for entry in path.iterdir() if (entry / "train").is_dir()]
            root = inner[0] if len(inner) == 1 else path
        folders: set[str] = set()
        files: list[str] = []
        for entry in sorted(root.glob("*/**/*")) + sorted(root.glob("*")):
            (folders.add if entry.is_dir() else files.append)(entry.relative_to(root).as_posix())
        yield _Source(path, frozenset(folders), tuple(files), lambda name: (root / name).read_bytes())
        return
    try:
        with tarfile.open(path) as archive:
            # "./train/a" is "train/a"; of two members of one name the last counts, as on extraction.
            members = {posixpath.normpath(member.name): member for member in archive}
            prefix = _leading_folder(members)

            def read(name: str) -> bytes:
                file = archive.extractfile(members[prefix + name])
                return file.read() if file else b""

            folders, files = set(), []
            for member in sorted(members, key=lambda name: members[name].offset):
                name = member[len(prefix) :]
                if not member.startswith(prefix) or not name:
                    continue
                if members[member].isdir():
                    folders.add(name)
                elif members[member].isfile():
                    files.append(name)
            for folder in {posixpath.dirname(name) for name in files}:  # archives need not list their folders
                folders.update(parent.as_posix() for parent in PurePosixPath(folder, "x").parents)
            yield _Source(path, frozenset(folders), tuple(files), read)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"archive {path} is damaged: {error}") from error


def _leading_folder(members: dict[str, tarfile.TarInfo]) -> str:
    """Empty where `train` stands at the top of an archive, "name/" where it stands in one folder only."""
    heads = {tuple(name.split("/", 2)[:2]) for name in members}
    if any(head[0] == "train" for head in heads):
        return ""
    inner = [head[0] for head in heads if head[1:] == ("train",)]
    return f"{inner[0]}/" if len(inner) == 1 else ""


def _list_part(source: _Source, part: str) -> tuple[tuple[str, ...], list[tuple[str, int]]]:
    """Class names, and the part's images with their labels, both sorted; ValueError if laid out wrongly."""
    layout = "expected train/<class>/<image> and test/<class>/<image>, possibly within one folder"
    found: dict[str, dict[str, list[str]]] = {"train": {}, part: {}}
    for name in found:
        if name not in source.folders:
            raise ValueError(f"{source.path} has no {name}/ folder; {layout}")
    for folder in source.folders:
        top, _, name = folder.partition("/")
        if top in found and name and "/" not in name and not name.startswith("."):
            found[top][name] = []
    for file in source.files:
        path = PurePosixPath(file)
        # Names with a leading dot are what macOS and editors leave behind.
        wanted = len(path.parts) >= 3 and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        if wanted and path.parts[1] in found.get(path.parts[0], {}):
            found[path.parts[0]][path.parts[1]].append(file)
    if len(found["train"]) < 2:
        raise ValueError(
            f"{source.path}: train/ has {len(found['train'])} class folders, at least 2 needed; {layout}"
        )
    classes = tuple(sorted(found["train"]))
    unknown = sorted(set(found[part]) - set(classes))
    if unknown:
        raise ValueError(f"{source.path}: class {unknown[0]!r} is in {part}/ but not in train/")
    for name, files in sorted(found[part].items()):
        if not files:
            raise ValueError(f"{source.path}: class {part}/{name} has no images ({', '.join(SUFFIXES)})")
    if not found[part]:
        raise ValueError(f"{source.path}: {part}/ has no class folders; {layout}")
    labels = {name: label for label, name in enumerate(classes)}
    listed = [(file, labels[name]) for name in sorted(found[part]) for file in sorted(found[part][name])]
    return classes, listed


def _decode(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    """The image in `data` as uint8 [3, 32, 32]."""
    try:
        with Image.open(io.BytesIO(data)) as file:
            image = file.convert("RGB")
    except (
        Exception
    ) as error:  # Pillow raises many kinds for broken files: OSError, SyntaxError, ValueError, …
        raise ValueError(f"image {name} cannot be decoded, it is corrupt or no image: {error}") from error
    if image.size != (IMAGE_SIZE, IMAGE_SIZE):
        image = image.resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image, np.uint8).transpose(2, 0, 1)
