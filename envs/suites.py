"""Suites: named lists and distributions of tasks.

``X`` is the distribution that an agent trains on, ``X-validation`` a list of tasks cut from the same images (which
checkpoint is best, how hand-designed schedules are tuned), ``X-held-out`` a list cut from other images, for the
comparison. A suite file is YAML with ``tasks:``, a list of mappings, and optional ``defaults:``; its tasks are cut
from the held-out images.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lambda_rl.envs.split import Fold
from lambda_rl.envs.tasks import Task

MAX_SEED = 2**31
"""Seeds that :meth:`Suite.sample` draws lie below it and above ``MIN_SEED``."""
MIN_SEED = 10**6
"""Seeds below it are for lists: validation, tuning and comparison."""


@dataclass(frozen=True)
class TaskDistribution:
    """Tasks drawn at random; every range is log-uniform, every tuple of choices uniform.

    Attributes:
        bases: one is drawn, then the fields below are set.
        train_size: range of training examples.
        val_size: range of validation examples.
        label_noise: choices.
        learning_rate_factor: range of what the base's learning rate is multiplied by.
        initial_lam: range of the start λ.
    """

    bases: tuple[Task, ...]
    train_size: tuple[int, int]
    val_size: tuple[int, int]
    label_noise: tuple[float, ...]
    learning_rate_factor: tuple[float, float]
    initial_lam: tuple[float, float]

    def sample(self, rng: np.random.Generator) -> Task:
        """One task, its seed drawn too."""

        def between(low: float, high: float) -> float:
            return float(math.exp(rng.uniform(math.log(low), math.log(high))))

        base = self.bases[int(rng.integers(len(self.bases)))]
        return dataclasses.replace(
            base,
            train_size=round(between(*self.train_size)),
            val_size=round(between(*self.val_size)),
            label_noise=self.label_noise[int(rng.integers(len(self.label_noise)))],
            learning_rate=base.learning_rate * between(*self.learning_rate_factor),
            initial_lam=between(*self.initial_lam),
            seed=int(rng.integers(MIN_SEED, MAX_SEED)),
        )


@dataclass(frozen=True)
class Suite:
    """A named list or distribution of tasks.

    Attributes:
        name: what it is called in results.
        fold: ``agent`` or ``held-out``: which images its runs are cut from.
        tasks: the list; empty for a distribution.
        distribution: what :meth:`sample` draws from, if it is one.
    """

    name: str
    fold: Fold
    tasks: tuple[Task, ...] = ()
    distribution: TaskDistribution | None = None

    def __post_init__(self) -> None:
        """A suite has tasks or a distribution."""
        if bool(self.tasks) == (self.distribution is not None):
            raise ValueError(f"suite {self.name}: give a list of tasks or a distribution")

    def sample(self, rng: np.random.Generator) -> Task:
        """A task from the distribution, or one of the list with a seed of its own."""
        if self.distribution is not None:
            return self.distribution.sample(rng)
        task = self.tasks[int(rng.integers(len(self.tasks)))]
        return task.with_seed(int(rng.integers(MIN_SEED, MAX_SEED)))

    @property
    def largest(self) -> tuple[Task, ...]:
        """Tasks that want as many images as any that :meth:`sample` can draw."""
        if self.distribution is None:
            return self.tasks
        train, val = self.distribution.train_size[1], self.distribution.val_size[1]
        return tuple(
            dataclasses.replace(base, train_size=train, val_size=val) for base in self.distribution.bases
        )

    @property
    def task_names(self) -> list[str]:
        """One name a task, in order, each different."""
        names = [task.name for task in self.tasks]
        count = Counter(names)
        seen: Counter[str] = Counter()
        for i, name in enumerate(names):
            if count[name] > 1:
                seen[name] += 1
                names[i] = f"{name}#{seen[name]}"
        return names


def _grid(
    base: Task, sizes: Iterable[int], noises: Iterable[float], val_share: float | None
) -> tuple[Task, ...]:
    """Subset size x label noise; ``val_share`` of the training images to watch, or the base's ``val_size``."""
    noises = tuple(noises)
    return tuple(
        dataclasses.replace(
            base,
            train_size=size,
            label_noise=noise,
            val_size=base.val_size if val_share is None else round(val_share * size),
        )
        for size in sizes
        for noise in noises
    )


MLP = Task(network="mlp", width=32, steps=300, decisions=15, learning_rate=0.05, val_size=2000)
CNN = Task(network="cnn3", width=16, steps=600, decisions=20, learning_rate=0.02, val_size=2000)
RESNET = Task(
    network="resnet9", width=32, resolution=32, steps=1200, decisions=20, batch_size=128, learning_rate=0.1,
    val_size=2000, augment=True,
)  # fmt: skip
WIDE_MLP = dataclasses.replace(MLP, width=128, learning_rate=0.03)
SMALL_CNN = dataclasses.replace(CNN, width=8, steps=300, decisions=15)
# Wider and longer than anything that a shipped policy was trained on.
TRANSFER = dataclasses.replace(CNN, width=32, steps=1200, decisions=15, train_size=5000, val_size=1000)
# λ starts where the default policy starts, converted to decoupled decay.
TRANSFER_ADAMW = dataclasses.replace(
    TRANSFER, optimizer="adamw", decay="decoupled", learning_rate=1e-3, initial_lam=2.05
)
QUICK = dataclasses.replace(MLP, val_size=400)

NOISES = (0.0, 0.2, 0.4)


def _builtin() -> dict[str, Suite]:
    mlp = TaskDistribution((MLP,), (300, 20_000), (60, 2500), NOISES, (0.5, 2.0), (1e-4, 1.0))
    cnn = dataclasses.replace(mlp, bases=(CNN,), initial_lam=(1e-5, 0.3))
    # Half of the runs are convolutional; the large ones are dear, hence rare.
    bases = (MLP, MLP, WIDE_MLP, SMALL_CNN, SMALL_CNN, CNN)
    mixed = dataclasses.replace(mlp, bases=bases, initial_lam=(1e-5, 1.0))
    resnet = dataclasses.replace(mlp, bases=(RESNET,), train_size=(1000, 20_000), initial_lam=(1e-5, 0.1))
    quick = TaskDistribution((QUICK,), (300, 4800), (200, 600), (0.0, 0.4), (0.7, 1.4), (1e-3, 0.3))
    sizes = (500, 2000, 6000, 20_000)
    cnn_sizes = (500, 2000, 10_000)
    lists: dict[str, tuple[Fold, tuple[Task, ...]]] = {
        "quick-validation": ("agent", _grid(QUICK, (300, 1000, 4000), (0.0, 0.4), None)),
        "quick-held-out": ("held-out", _grid(QUICK, (300, 1000, 4000), (0.0, 0.4), None)),
        "cifar-mlp-validation": ("agent", _grid(MLP, sizes, NOISES, None)),
        "cifar-mlp-held-out": ("held-out", _grid(MLP, sizes, NOISES, None)),
        "cifar-mlp-held-out-fifth": ("held-out", _grid(MLP, sizes, NOISES, 0.2)),
        "cifar-cnn-validation": ("agent", _grid(CNN, cnn_sizes, (0.0, 0.4), None)),
        "cifar-cnn-held-out": ("held-out", _grid(CNN, cnn_sizes, (0.0, 0.4), None)),
        "cifar-resnet9-validation": ("agent", _grid(RESNET, (2000, 20_000), (0.0, 0.4), None)),
        "cifar-resnet9-held-out": ("held-out", _grid(RESNET, (2000, 6000, 20_000), (0.0, 0.4), None)),
        "transfer-sgd-held-out": ("held-out", (TRANSFER,)),
        "transfer-adamw-held-out": ("held-out", (TRANSFER_ADAMW,)),
    }
    suites = {name: Suite(name, fold, tasks=tasks) for name, (fold, tasks) in lists.items()}
    mixed_validation = suites["cifar-mlp-validation"].tasks + suites["cifar-cnn-validation"].tasks
    suites["cifar-mixed-validation"] = Suite("cifar-mixed-validation", "agent", tasks=mixed_validation)
    mixed_held_out = suites["cifar-mlp-held-out"].tasks + suites["cifar-cnn-held-out"].tasks
    suites["cifar-mixed-held-out"] = Suite("cifar-mixed-held-out", "held-out", tasks=mixed_held_out)
    for name, distribution in (
        ("quick", quick), ("cifar-mlp", mlp), ("cifar-cnn", cnn), ("cifar-mixed", mixed), ("cifar-resnet9", resnet),
    ):  # fmt: skip
        suites[name] = Suite(name, "agent", distribution=distribution)
    return suites


def suite_names() -> list[str]:
    """Names of the built-in suites."""
    return sorted(_builtin())


def load_suite(name_or_path: str | Path) -> Suite:
    """A built-in suite by name, or one from a YAML file.

    Raises:
        ValueError: neither a name nor a file, or the file is not a suite; the message names what is wrong.
    """
    builtin = _builtin()
    if str(name_or_path) in builtin:
        return builtin[str(name_or_path)]
    path = Path(name_or_path)
    if not path.is_file():
        raise ValueError(
            f"suite {str(name_or_path)!r} is neither a file nor one of {', '.join(sorted(builtin))}"
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"suite file {path}: not valid YAML: {error}") from None
    return _from_content(content, path)


def _from_content(content: Any, path: Path) -> Suite:
    if not isinstance(content, dict):
        raise ValueError(f"suite file {path}: must be a mapping with `tasks:`, got {type(content).__name__}")
    unknown = sorted(map(str, set(content) - {"name", "defaults", "tasks"}))
    if unknown:
        raise ValueError(
            f"suite file {path}: unknown field {', '.join(unknown)}; allowed are name, defaults, tasks"
        )
    defaults, tasks = content.get("defaults") or {}, content.get("tasks")
    if not isinstance(defaults, dict):
        raise ValueError(f"suite file {path}: `defaults:` must be a mapping of task fields")
    if not isinstance(tasks, list) or not tasks:
        raise ValueError(f"suite file {path}: `tasks:` must be a list of at least one task")
    made = []
    for number, fields in enumerate(tasks, 1):
        where = f"suite file {path}, task {number}"
        if not isinstance(fields, dict):
            raise ValueError(f"{where}: must be a mapping of task fields, got {fields!r}")
        made.append(Task.from_mapping({**defaults, **fields}, where))
    return Suite(str(content.get("name") or path.stem), "held-out", tasks=tuple(made))
