"""All data sets of a trainer: those it was given, and those that are generated when a task first names them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Mapping

import torch

from lambda_rl.envs.data import ImageData, Images, by_name, data_set, is_generated, load_train
from lambda_rl.envs.data.split import Fold, part_sizes
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.run import InnerRun, check_sizes, check_task, network_of
from lambda_rl.envs.training.source import Source

Load = Callable[[str], ImageData]
"""Makes the training images of a name."""

MOST_KEPT = 64
"""Generated data sets that are kept though no run uses them any more, at most."""


class Sources(Mapping[str, Source]):
    """Data sets by the names that tasks give them.

    What :attr:`~lambda_rl.envs.data.DataSet.generated` says is made when it is asked for, on the thread that asks. Of
    these the least recently used are forgotten, and all that was made of them, when there are more than ``most`` and no
    living run is of them; they are the same when they are made again. Any thread may ask.

    Args:
        data: those that stay.
        fold: which images of them.
        device: where they live.
        outer_size: see :class:`~lambda_rl.envs.training.source.Source`.
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
        """Refuses a task that cannot be run on its data (see :func:`~.run.check_task`); makes no data for it."""
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
