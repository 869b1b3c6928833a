"""The data sets of a trainer: those it was given, and those that are generated when a task first names them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from lambda_rl.envs.data import ImageData, Images, by_name, data_set, is_generated, load_train
from lambda_rl.envs.data.split import Fold, part_sizes, split_data
from lambda_rl.envs.networks import Network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.resident import EvaluationSet, Reading, ResidentImages
from lambda_rl.envs.training.run import InnerRun, network_of

Load = Callable[[str], ImageData]
"""Makes the training images of a name."""

MOST_KEPT = 64
"""Generated data sets that are kept though no run uses them any more, at most."""


class Source:
    """Where the runs of one data set come from.

    Args:
        data: training images.
        fold: which of them.
        device: where they live.
        outer_size: images of ``outer-val`` that a run is scored on at its decisions, at most.

    Attributes:
        images: all training images, on the device.
        split: the fold's parts.
        outer_size: as given, or as many as there are.
    """

    def __init__(self, data: ImageData, fold: Fold, device: torch.device, outer_size: int) -> None:
        self.fold = fold
        self.split = split_data(len(data.labels), fold)
        self.images = ResidentImages(data, device)
        self.outer_size = min(outer_size, len(self.split.outer_val))
        self._outer_all = self.split.outer_val.to(device)
        # By the images themselves, which are kept so: others may come to have the place, hence the id, of lost ones.
        self._whole: dict[tuple[object, ...], EvaluationSet] = {}

    def outer(self, network: Network, compute: torch.dtype, reading: Reading) -> EvaluationSet:
        """The whole of ``outer-val``, made once for all runs alike; ask before threads do."""
        return self.whole(self.images, self._outer_all, network, compute, reading)

    def whole(
        self, images: ResidentImages, index: Tensor, network: Network, compute: torch.dtype, reading: Reading
    ) -> EvaluationSet:
        """A set of images that all runs share."""
        key = (images, network.resolution, network.arrangement, compute, reading)
        if key not in self._whole:
            self._whole[key] = images.evaluation_set(index, network, compute, reading)
        return self._whole[key]

    def tested(self, test: ImageData) -> ResidentImages:
        """Test images on the device, normalised as the training images are.

        Raises:
            ValueError: they are of other classes.
        """
        if test.num_classes != self.images.num_classes:
            raise ValueError(
                f"test images have {test.num_classes} classes, training images {self.images.num_classes}"
            )
        return ResidentImages(test, self.images.device, self.images.statistics, reference=self.images)


def check_task(task: Task, source: Source) -> None:
    """Refuses a task that cannot be run on its data, before any of its runs is started.

    Raises:
        ValueError: it wants more images than the fold has, or at a resolution that they cannot be brought to, or its
            network cannot be of that resolution.
    """
    split, images = source.split, source.images
    check_sizes(task, (len(split.inner_train), len(split.inner_val)))
    images.averaged(task.resolution)
    network_of(task, images.num_classes, images.channels)


def check_sizes(task: Task, sizes: Sequence[int]) -> None:
    """Refuses a task that wants more images than there are; see :func:`check_task`.

    Args:
        task: what to train.
        sizes: images of the parts inner-train and inner-val.
    """
    for name, part, have in zip(
        ("train_size", "val_size"), ("inner-train", "inner-val"), sizes, strict=False
    ):
        if getattr(task, name) > have:
            raise ValueError(
                f"task {task.name}: {name}={getattr(task, name)}, but the {part} part has {have} images"
            )


class Sources(Mapping[str, Source]):
    """Data sets by the names that tasks give them.

    What :attr:`~lambda_rl.envs.data.DataSet.generated` says is made when it is asked for, on the thread that asks. Of
    these the least recently used are forgotten, and all that was made of them, when there are more than ``most`` and no
    living run is of them; they are the same when they are made again. Any thread may ask.

    Args:
        data: those that stay.
        fold: which images of them.
        device: where they live.
        outer_size: see :class:`Source`.
        load: makes generated ones; None: nothing is.
        most: generated ones that are kept.
    """

    def __init__(
        self,
        data: Images,
        fold: Fold,
        device: torch.device,
        outer_size: int,
        load: Load | None = load_train,
        most: int = MOST_KEPT,
    ) -> None:
        self._fold, self._device, self._outer_size = fold, device, outer_size
        self._load, self._most = load, most
        self._given = {name: self._source(part) for name, part in by_name(data).items()}
        self._made: dict[str, Source] = {}  # in the order of their last use
        self._users: dict[str, weakref.WeakSet[InnerRun]] = {}
        self._lock = threading.RLock()

    def _source(self, data: ImageData) -> Source:
        return Source(data, self._fold, self._device, self._outer_size)

    def _makes(self, name: str) -> bool:
        return self._load is not None and is_generated(name)

    def __getitem__(self, name: str) -> Source:
        """The data set of a name.

        Raises:
            KeyError: it was not loaded, and is none that is generated.
        """
        if name in self._given:
            return self._given[name]
        with self._lock:
            found = self._made.pop(name, None)
            if found is None:
                if self._load is None or not self._makes(name):
                    raise KeyError(name)
                found = self._source(self._load(name))
                self._forget()
            self._made[name] = found
            return found

    def __iter__(self) -> Iterator[str]:
        """Names of those that are there now."""
        return iter([*self._given, *self._made])

    def __len__(self) -> int:
        """How many are there now."""
        return len(self._given) + len(self._made)

    def of(self, task: Task) -> Source:
        """The data set that a task names.

        Raises:
            ValueError: it was not loaded.
        """
        try:
            return self[task.data]
        except KeyError:
            known = ", ".join(name or "the default" for name in self)
            raise ValueError(
                f"task {task.name}: its data {task.data!r} was not loaded; loaded: {known}"
            ) from None

    def use(self, run: InnerRun) -> None:
        """Keeps a run's data set for as long as the run lives."""
        if run.task.data not in self._given:
            with self._lock:
                self._users.setdefault(run.task.data, weakref.WeakSet()).add(run)

    def check(self, task: Task) -> None:
        """Refuses a task that cannot be run on its data (see :func:`check_task`); makes no data for it."""
        if task.data in self._given or task.data in self._made or not self._makes(task.data):
            check_task(task, self.of(task))
            return
        has = data_set(task.data).dimensions
        check_sizes(task, part_sizes(has.count, self._fold))
        if task.resolution != has.side:
            raise ValueError(f"resolution={task.resolution} must be {has.side}, the side of {task.data}")
        network_of(task, has.num_classes, has.channels)

    def _forget(self) -> None:
        """Room for one more."""
        for name in [name for name, runs in self._users.items() if not runs]:
            del self._users[name]
        idle = [name for name in self._made if name not in self._users]
        for name in idle[: max(0, len(self._made) + 1 - self._most)]:
            del self._made[name]
