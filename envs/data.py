"""Data sets by name: CIFAR-10 and CIFAR-100, a folder or archive of images, and synthetic images.

Training and test images are loaded, cached and fingerprinted apart: what learns calls `load_train` and never
holds, nor depends on, a test image or label. Only the evaluation calls `load_test`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from lambda_rl.envs.cache import Part, cache_folder, cached, to_part
from lambda_rl.envs.folder import Progress, read_part, source_key
from lambda_rl.envs.synthetic import make_synthetic

SPECS = "synthetic, synthetic:SEED, cifar10, cifar100, folder:PATH (folder or tar with train/ and test/)"

_PartName = Literal["train", "test"]


@dataclass(frozen=True)
class ImageData:
    """One part of a data set, decoded.

    Attributes:
        name: "cifar10", "cifar100", "folder:<basename>", "synthetic" or "synthetic:<seed>".
        images: uint8 [n, 3, 32, 32], contiguous.
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


def load_train(
    spec: str,
    *,
    cache_dir: str | Path | None = None,
    root: str | Path | None = None,
    progress: Progress | None = None,
) -> ImageData:
    """Load the training images of a data set, and nothing of its test images.

    Args:
        spec: "synthetic" (12,000 images, made from seed 0), "synthetic:SEED", "cifar10", "cifar100", or
            "folder:PATH".
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


def _load(
    spec: str,
    part: _PartName,
    cache_dir: str | Path | None,
    root: str | Path | None,
    progress: Progress | None,
) -> ImageData:
    kind, colon, rest = spec.partition(":")
    folder = cache_folder(cache_dir)
    name = spec
    if kind == "synthetic" and bool(colon) == bool(rest):
        seed = _seed(spec, rest)
        name = f"synthetic:{seed}" if seed else "synthetic"
        found = cached(folder, f"synthetic:{seed}:{part}", lambda: _synthetic(seed, part))
    elif kind == "folder" and rest:
        path = Path(rest).expanduser().resolve()
        name = f"folder:{path.name}"
        key = f"folder:{source_key(path, part)}:{part}"
        found = cached(folder, key, lambda: to_part(*read_part(path, part, progress)))
        _warn_of_absent_classes(path, part, found[0])
    elif spec in ("cifar10", "cifar100"):
        downloads = Path(root).expanduser() if root is not None else folder / "downloads"
        found = cached(folder, _cifar_key(spec, part), lambda: _cifar(spec, part, downloads))
    else:
        raise ValueError(f"unknown data {spec!r}; allowed: {SPECS}")
    (images, labels, classes), fingerprint = found
    return ImageData(name, images, labels, len(classes), fingerprint, classes)


def _warn_of_absent_classes(path: Path, part: _PartName, found: Part) -> None:
    _, labels, classes = found
    present = set(labels.unique().tolist())
    absent = [repr(name) for label, name in enumerate(classes) if label not in present]
    if absent:
        shown = ", ".join(absent[:5]) + (", …" if len(absent) > 5 else "")
        text = f"{path}: {len(absent)} of {len(classes)} classes have no {part} images: {shown}"
        warnings.warn(text, RuntimeWarning, stacklevel=4)  # where load_train or load_test is called


def _seed(spec: str, text: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f"data {spec!r}: the seed must be a whole number of at least 0, not {text!r}")
    return int(text or 0)


def _synthetic(seed: int, part: _PartName) -> Part:
    images, labels = make_synthetic(seed, part)
    return to_part(images, labels, tuple(str(label) for label in range(10)))


def _cifar_key(spec: str, part: _PartName) -> str:
    """Key of the cache from torchvision's own checksums: the content that its loader insists on."""
    from torchvision.datasets import CIFAR10, CIFAR100

    source = CIFAR10 if spec == "cifar10" else CIFAR100
    files = source.train_list if part == "train" else source.test_list
    return ":".join([spec, part, *(checksum for _, checksum in files)])


def _cifar(spec: str, part: _PartName, root: Path) -> Part:
    from torchvision.datasets import CIFAR10, CIFAR100

    root.mkdir(parents=True, exist_ok=True)
    source = CIFAR10 if spec == "cifar10" else CIFAR100
    try:
        data = source(root, train=part == "train", download=True)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"{spec} could not be had from {source.url} ({error}); put {source.filename} into {root}, "
            "or give images of your own with folder:PATH"
        ) from error
    labels = torch.tensor(data.targets, dtype=torch.int64)
    return to_part(data.data.transpose(0, 3, 1, 2), labels.numpy(), tuple(data.classes))
