"""The data sets that come with the package: synthetic images, CIFAR, folders and archives."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from lambda_rl.envs.data.cache import Part, to_part
from lambda_rl.envs.data.folder import read_part, source_key
from lambda_rl.envs.data.sets import DATA_SETS, DataSet, PartName, Places, unknown_data
from lambda_rl.envs.data.synthetic import make_synthetic


@DATA_SETS.register("synthetic")
class Synthetic(DataSet):
    """Images of CIFAR's shape drawn from a seed, see :mod:`lambda_rl.envs.data.synthetic`."""

    form = "synthetic, synthetic:SEED"

    def check(self) -> None:
        """The seed is a whole number."""
        text = self.argument
        if text is not None and not (text.isascii() and text.isdigit()):
            raise ValueError(
                f"data {self.spec!r}: the seed must be a whole number of at least 0, not {text!r}"
            )

    @property
    def seed(self) -> int:
        """0 if none was given."""
        return int(self.argument or 0)

    @property
    def name(self) -> str:
        """``synthetic``, or ``synthetic:SEED``."""
        return f"synthetic:{self.seed}" if self.seed else "synthetic"

    def key(self, part: PartName) -> str:
        """The seed is all that counts."""
        return f"synthetic:{self.seed}:{part}"

    def make(self, part: PartName, places: Places) -> Part:
        """Draws them."""
        images, labels = make_synthetic(self.seed, part)
        return to_part(images, labels, tuple(str(label) for label in range(10)))


class Cifar(DataSet):
    """CIFAR (Krizhevsky 2009), downloaded and verified by torchvision."""

    @property
    def source(self) -> Any:
        """Torchvision's class."""
        import torchvision.datasets

        return getattr(torchvision.datasets, self.spec.upper())

    def key(self, part: PartName) -> str:
        """From torchvision's own checksums: the content that its loader insists on."""
        files = self.source.train_list if part == "train" else self.source.test_list
        return ":".join([self.spec, part, *(checksum for _, checksum in files)])

    def make(self, part: PartName, places: Places) -> Part:
        """Downloads the archive if it is not there."""
        source, root = self.source, places.downloads
        root.mkdir(parents=True, exist_ok=True)
        try:
            data = source(root, train=part == "train", download=True)
        except (OSError, RuntimeError) as error:
            raise RuntimeError(
                f"{self.spec} could not be had from {source.url} ({error}); put {source.filename} into {root}, "
                "or give images of your own with folder:PATH"
            ) from error
        labels = torch.tensor(data.targets, dtype=torch.int64)
        return to_part(data.data.transpose(0, 3, 1, 2), labels.numpy(), tuple(data.classes))


@DATA_SETS.register("cifar10")
class Cifar10(Cifar):
    """50,000 training and 10,000 test images of 10 classes."""

    form = "cifar10"


@DATA_SETS.register("cifar100")
class Cifar100(Cifar):
    """Likewise, of 100 classes."""

    form = "cifar100"


@DATA_SETS.register("folder")
class Folder(DataSet):
    """A folder, or a tar archive, of images in ImageFolder layout."""

    form = "folder:PATH (folder or tar with train/ and test/)"

    def check(self) -> None:
        """A path is needed."""
        if self.argument is None:
            raise unknown_data(self.spec)

    @property
    def path(self) -> Path:
        """Where the images are."""
        return Path(self.argument or "").expanduser().resolve()

    @property
    def name(self) -> str:
        """The last part of the path."""
        return f"folder:{self.path.name}"

    def key(self, part: PartName) -> str:
        """By the content, or by names, sizes and times of the files."""
        return f"folder:{source_key(self.path, part)}:{part}"

    def make(self, part: PartName, places: Places) -> Part:
        """Reads and decodes."""
        return to_part(*read_part(self.path, part, places.progress))

    def notice(self, part: PartName, found: Part) -> None:
        """Warns of classes that have no images in this part."""
        _, labels, classes = found
        present = set(labels.unique().tolist())
        absent = [repr(name) for label, name in enumerate(classes) if label not in present]
        if absent:
            shown = ", ".join(absent[:5]) + (", …" if len(absent) > 5 else "")
            text = f"{self.path}: {len(absent)} of {len(classes)} classes have no {part} images: {shown}"
            warnings.warn(text, RuntimeWarning, stacklevel=4)  # where load_train or load_test is called
