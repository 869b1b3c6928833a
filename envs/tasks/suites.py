"""Suites: named lists and distributions of tasks.

``X`` is the distribution that an agent trains on, ``X-validation`` a list of tasks cut from the same images (which
checkpoint is best, how hand-designed schedules are tuned), ``X-held-out`` a list cut from other images, for the
comparison. Built-in suites are YAML files in :data:`BUILTIN`; anybody's file has the same format
(:mod:`lambda_rl.envs.tasks.files`), but its list is cut from the held-out images, and its distribution is for training.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lambda_rl.checks import did_you_mean, shown
from lambda_rl.envs.data import is_generated
from lambda_rl.envs.data.split import FOLDS, Fold
from lambda_rl.envs.tasks.files import read_suite
from lambda_rl.envs.tasks.space import MAX_SEED, MIN_SEED, TaskList, TaskSource, TaskSpace, bounds
from lambda_rl.envs.tasks.task import Task

__all__ = [
    "BUILTIN",
    "MAX_SEED",
    "MIN_SEED",
    "Suite",
    "TaskList",
    "TaskSpace",
    "bounds",
    "load_suite",
    "suite_names",
]

BUILTIN = Path(__file__).parent / "builtin"
"""Where the files of the built-in suites are; the name of a file is the name of its suite."""


@dataclass(frozen=True)
class Suite:
    """A named list or distribution of tasks.

    Attributes:
        name: what it is called in results.
        fold: ``agent`` or ``held-out``: which images its runs are cut from.
        source: the tasks, or what they are drawn from.

    Raises:
        ValueError: a name that cannot be shown or could be taken for a path, or another fold or source.
    """

    name: str
    fold: Fold
    source: TaskSource

    def __post_init__(self) -> None:
        """Checks all three."""
        name = self.name
        if not isinstance(name, str) or not 1 <= len(name) <= 100 or not name.isprintable():
            raise ValueError(f"the name of a suite must be 1 to 100 printable characters, got {shown(name)}")
        if name.startswith(".") or set(name) & set("/\\"):
            raise ValueError(
                f"the name of a suite must have no / or \\ and not start with a dot, got {shown(name)}"
            )
        if self.fold not in FOLDS:
            raise ValueError(f"suite {name}: fold must be one of {', '.join(FOLDS)}; got {shown(self.fold)}")
        if not isinstance(self.source, TaskSource):
            raise ValueError(f"suite {name}: give a TaskList or a TaskSpace, got {shown(self.source)}")

    def sample(self, rng: np.random.Generator) -> Task:
        """A task from the distribution, or one of the list; with a seed of its own."""
        return self.source.sample(rng)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The list; empty for a distribution."""
        return self.source.tasks if isinstance(self.source, TaskList) else ()

    def listed(self, what: str) -> tuple[Task, ...]:
        """The list, for what needs one.

        Args:
            what: needs it; stands in the error.

        Raises:
            ValueError: the suite is a distribution.
        """
        if isinstance(self.source, TaskList):
            return self.source.tasks
        beside = [name for name in suite_names() if name.startswith(f"{self.name}-")]
        lists = [name for name in beside if load_suite(name).tasks]
        hint = f", as {' or '.join(lists)}" if lists else ""
        raise ValueError(
            f"suite {self.name} is a distribution to train on; {what} needs a list of tasks{hint}"
        )

    @property
    def task_names(self) -> list[str]:
        """One name a task of the list, in order, each different."""
        return self.source.names

    @property
    def largest(self) -> tuple[Task, ...]:
        """Tasks that want as many images, of each data set, as any that :meth:`sample` can draw."""
        return self.source.largest

    @property
    def datasets(self) -> tuple[str, ...]:
        """Names of all data sets that its tasks can name; empty: the one that the command or environment was given.

        Those that are generated are left out: a trainer makes them itself.
        """
        return tuple(sorted(str(name) for name in bounds(self.source)["data"] if not is_generated(str(name))))

    def on(self, fold: Fold) -> Suite:
        """The same tasks, on another fold's images.

        What learns takes ``load_suite(name).on("agent")``: it must never see images that a comparison judges on,
        whatever fold a suite is made for.
        """
        return dataclasses.replace(self, fold=fold)


def suite_names() -> list[str]:
    """Names of the built-in suites."""
    return sorted(path.stem for path in BUILTIN.glob("*.yaml"))


def load_suite(name_or_path: str | Path) -> Suite:
    """A built-in suite by name, or one from a YAML file.

    Raises:
        ValueError: neither a name nor a file, or the file is not a suite; the message names what is wrong.
    """
    names = suite_names()
    name, path = str(name_or_path), Path(name_or_path)
    builtin = name in names
    if builtin:
        path = BUILTIN / f"{name}.yaml"
    elif not path.is_file():
        hint = did_you_mean(name, names)
        raise ValueError(f"suite {name!r} is neither a file nor one of {', '.join(names)}{hint}")
    content = read_suite(path, _included, builtin=builtin)
    usual: Fold = "held-out" if isinstance(content.source, TaskList) else "agent"
    try:
        return Suite(content.name or path.stem, content.fold or usual, content.source)
    except ValueError as error:
        raise ValueError(f"suite file {path}: {error}; `name:` in the file gives it another") from None


def _included(name: str) -> tuple[Task, ...]:
    """The tasks of a built-in list."""
    if name not in suite_names():
        raise ValueError(f"{shown(name)} is not one of {', '.join(suite_names())}")
    return load_suite(name).listed("`include:`")
