"""Data sets by name. A new one is a class and a registration.

Training and test images are loaded, cached and fingerprinted apart: what learns calls `load_train` and never
holds, nor depends on, a test image or label. Only the evaluation calls `load_test`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import torch

from lambda_rl.checks import did_you_mean
from lambda_rl.envs.data.cache import Part, cache_folder, cached, content_fingerprint
from lambda_rl.envs.data.folder import Progress
from lambda_rl.registry import Registry

PartName = Literal["train", "test"]


@dataclass(frozen=True)
class ImageData:
    """One part of a data set, decoded.

    Attributes:
        name: "cifar10", "cifar100", "folder:<basename>", "synthetic" or "synthetic:<seed>", …
        images: uint8 [n, channels, side, side], contiguous.
        labels: int64 [n], in 0…num_classes - 1.
        num_classes: number of classes; the same for both parts.
        fingerprint: SHA-256 (hex) of images and labels: equal where the content is, wherever it came from.
        class_names: their names in the order of the labels.
    """

    name: str
    images: torch.Tensor
    labels: torch.Tensor
    num_classes: int
    fingerprint: str
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Places:
    """Where a data set may find and put things.

    Attributes:
        downloads: archives that are downloaded, or were put there by hand.
        progress: called with (images decoded, images in all).
    """

    downloads: Path
    progress: Progress | None = None


@dataclass(frozen=True)
class Dimensions:
    """How large a part of a data set is.

    Attributes:
        count: images.
        side: pixels on a side.
        channels: of each pixel.
        num_classes: C.
    """

    count: int
    side: int
    channels: int
    num_classes: int


class DataSet:
    """A kind of data set: what stands behind the first word of ``--data`` and of ``Task.data``.

    A subclass says how its parts are made; caching, fingerprints and errors of the name are done here.

    Args:
        spec: the whole name that was given.
        argument: what follows the colon; None: there was none.

    Attributes:
        form: how the name is written, for messages and help; a class attribute.
        generated: it is made from its name in no time, so it is never cached, and tasks may name ever new ones of the
            kind; a class attribute. Such a class says :attr:`dimensions`.
    """

    form: ClassVar[str] = ""
    generated: ClassVar[bool] = False

    def __init__(self, spec: str, argument: str | None) -> None:
        self.spec, self.argument = spec, argument
        self.check()

    def check(self) -> None:
        """Raises a ``ValueError`` if the argument is not as it should be; by default there may be none."""
        if self.argument is not None:
            raise unknown_data(self.spec)

    @property
    def name(self) -> str:
        """What it is called in results; without the path of a machine."""
        return self.spec

    def key(self, part: PartName) -> str:
        """What its content is known by before it is read: the key of the cache."""
        return f"{self.spec}:{part}"

    @property
    def dimensions(self) -> Dimensions:
        """How large the training part is, of what is :attr:`generated`: known before it is made."""
        raise NotImplementedError

    def make(self, part: PartName, places: Places) -> Part:
        """The part itself: images uint8 ``[n, C, H, H]``, labels int64 ``[n]`` and the names of the classes."""
        raise NotImplementedError

    def notice(self, part: PartName, found: Part) -> None:
        """Looks at what was made or found in the cache, to warn of what a user should know."""


DATA_SETS: Registry[type[DataSet]] = Registry("data")
"""Kinds of data set, by the first word of their names."""


def data_forms() -> str:
    """How the names of all data sets are written, for messages and help."""
    return ", ".join(DATA_SETS[kind].form for kind in DATA_SETS)


def unknown_data(spec: str) -> ValueError:
    """The error for a name that is of no data set; it lists how they are written."""
    hint = did_you_mean(spec.partition(":")[0], DATA_SETS)
    return ValueError(f"unknown data {spec!r}; allowed: {data_forms()}{hint}")


def data_set(spec: str) -> DataSet:
    """The data set of a name.

    Raises:
        ValueError: there is no such kind, or what follows the colon is not as it should be.
    """
    kind, colon, argument = spec.partition(":")
    if kind not in DATA_SETS or (colon and not argument):
        raise unknown_data(spec)
    return DATA_SETS[kind](spec, argument if colon else None)


def load_train(
    spec: str,
    *,
    cache_dir: str | Path | None = None,
    root: str | Path | None = None,
    progress: Progress | None = None,
) -> ImageData:
    """Load the training images of a data set, and nothing of its test images.

    Args:
        spec: "synthetic" (12,000 images, made from seed 0), "synthetic:SEED", "cifar10", "cifar100",
            "folder:PATH", or another of :data:`DATA_SETS`.
        cache_dir: where decoded images are kept; by default the folder that the environment variable
            LAMBDA_RL_CACHE names, else the user's cache folder.
        root: where torchvision finds or puts the CIFAR archives; by default `downloads` in the cache folder.
        progress: called with (images decoded, images in all) while a folder or archive is decoded.

    Raises:
        FileNotFoundError: PATH does not exist.
        ValueError: unknown spec, or a folder or archive that is not as it should be; the message names what.
        RuntimeError: an archive of CIFAR could not be downloaded or fails its checksum.
    """
    return _load(spec, "train", cache_dir, root, progress)


def load_test(
    spec: str,
    *,
    cache_dir: str | Path | None = None,
    root: str | Path | None = None,
    progress: Progress | None = None,
) -> ImageData:
    """Load the test images of a data set; for evaluation only. Arguments and errors as `load_train`.

    Warns of classes of a folder or archive that have no test images: no result says anything about them.
    """
    return _load(spec, "test", cache_dir, root, progress)


def is_generated(spec: str) -> bool:
    """Whether a name (empty: no) is of a kind that is made when it is asked for, see :class:`DataSet`."""
    return bool(spec) and data_set(spec).generated


def load_parts(
    part: PartName, default: str | Images, names: Iterable[str] = (), *, root: str | Path | None = None
) -> dict[str, ImageData]:
    """A part of each data set that tasks name, by those names; "" stands for the default.

    Not those that are generated: whoever needs one makes it.

    Args:
        part: "train"; "test" for evaluation only.
        default: the data set of tasks that name none; or that part of it, or of several that are loaded already.
        names: of further data sets.
        root: see :func:`load_train`.

    Raises:
        ValueError: see :func:`load_train`, as for the other errors.
    """
    load = load_train if part == "train" else load_test
    parts = dict(by_name(load(default, root=root) if isinstance(default, str) else default))
    return parts | {
        name: load(name, root=root) for name in names if name and name not in parts and not is_generated(name)
    }


Images = ImageData | Mapping[str, ImageData]
"""One data set, or several by the names that tasks give them (``Task.data``), "" for that of tasks that name none."""


def by_name(images: Images) -> Mapping[str, ImageData]:
    """Images by the names that tasks give them."""
    return {"": images} if isinstance(images, ImageData) else images


def _load(
    spec: str,
    part: PartName,
    cache_dir: str | Path | None,
    root: str | Path | None,
    progress: Progress | None,
) -> ImageData:
    source = data_set(spec)
    folder = cache_folder(cache_dir)
    places = Places(Path(root).expanduser() if root is not None else folder / "downloads", progress)
    if source.generated:
        found = source.make(part, places)
        fingerprint = content_fingerprint(*found[:2])
    else:
        found, fingerprint = cached(folder, source.key(part), lambda: source.make(part, places))
    source.notice(part, found)
    images, labels, classes = found
    return ImageData(source.name, images, labels, len(classes), fingerprint, classes)
