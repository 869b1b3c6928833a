"""Tuning of the hand-designed schedules on the training side, so that the comparison with them is fair.

Each family of schedules gets a grid of at least 16 settings (the constants: their grid). Every setting runs on every
task and seed of a validation suite, on the agent's fold of the training images, and the one with the best mean
accuracy on ``outer-val`` is the family's entry in the comparison. The test part is not loaded.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lambda_rl.envs.data import ImageData
from lambda_rl.envs.rollout import ScheduleJob, run_schedules
from lambda_rl.envs.suites import Suite
from lambda_rl.envs.trainer import TrainerConfig
from lambda_rl.files import atomic_write
from lambda_rl.parse import parse_schedule

FORMAT_VERSION = 1

CONSTANT_GRID: tuple[float, ...] = tuple(float(f"{10.0 ** (k / 2):.3g}") for k in range(-10, 2))
"""Half decades from 10^-5 to 10^0.5, rounded to three digits, as their names show them."""

FIRST_TUNING_SEED = 10_000
"""Added to the seeds of tasks for tuning, so that a tuning run shares no seed with a run of the comparison."""

UNTUNED: dict[str, str] = {
    "pull-down": "pull-down:0.1,0.001",
    "pull-up": "pull-up:0.001,0.1",
    "cosine": "cosine:0.1,0.001",
    "steps": "steps:0.03,0.02,0.01,0",
    "gap": "gap:initial=0.01,factor=2,threshold=0.05",
}
"""What runs when there is no tuning: plausible settings, which no result should be claimed against."""

_CENTRES = (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5)  # log10 of the geometric middle of a ramp
_SPANS = (0.5, 1.5)  # decades between its ends; the narrow one comes close to a constant
_SHAPES = ("exponential", "linear")
_STEP_SHAPES = ((3.0, 2.0, 1.0, 0.0), (1.0, 0.1, 0.01, 0.001), (1.0, 0.316, 0.1, 0.0316))  # the first is Lu's


def number(value: float) -> str:
    """A λ as it stands in specs and names: three digits."""
    return f"{value:.3g}"


def constant_name(value: float) -> str:
    """The spec, and the name in tables, of a constant."""
    return f"constant:{number(value)}"


def family_settings(constants: Sequence[float] = CONSTANT_GRID, most: int = 0) -> dict[str, list[str]]:
    """The settings that each family is tuned over, as specs for :func:`lambda_rl.parse.parse_schedule`.

    Args:
        constants: the grid of constants.
        most: settings per family at most, spread over its grid, for a quick look; 0: all. The constants stay all.

    Returns:
        Family name to specs: ``constant``, ``pull-down``, ``pull-up``, ``cosine``, ``steps``, ``gap``.

    Raises:
        ValueError: a constant is negative or not finite, or the grid is empty.
    """
    families = {
        "constant": [constant_name(value) for value in check_constants(constants)],
        "pull-down": [f"pull-down:{high},{low},{shape}" for low, high in _ends() for shape in _SHAPES],
        "pull-up": [f"pull-up:{low},{high},{shape}" for low, high in _ends() for shape in _SHAPES],
        "cosine": [f"cosine:{a},{b}" for low, high in _ends() for a, b in ((high, low), (low, high))],
        "steps": [
            "steps:" + ",".join(number(10**exponent * factor) for factor in shape)
            for shape in _STEP_SHAPES
            for exponent in (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5)
        ],
        "gap": [
            f"gap:initial={number(10**exponent)},factor={factor:g},threshold={threshold:g}"
            for exponent in (-3.0, -2.0, -1.5)
            for factor in (1.3, 2.0)
            for threshold in (0.02, 0.05, 0.1, 0.2)
        ],
    }
    for name, specs in families.items():
        if name != "constant" and 0 < most < len(specs):
            chosen = np.linspace(0, len(specs) - 1, most + 2).round().astype(int)[1:-1]
            families[name] = [specs[index] for index in chosen]
    return families


def _ends() -> list[tuple[str, str]]:
    return [
        (number(10 ** (centre - span / 2)), number(10 ** (centre + span / 2)))
        for centre in _CENTRES
        for span in _SPANS
    ]


def check_constants(constants: Sequence[float]) -> list[float]:
    """The grid, sorted, without doubles; refuses an empty one and values that no λ can have."""
    if not constants:
        raise ValueError("the grid of constants is empty")
    for value in constants:
        if not (np.isfinite(value) and value >= 0):
            raise ValueError(f"constants must be finite and 0 or more, got {value}")
    return sorted({float(number(value)) for value in constants})


@dataclass(frozen=True)
class Setting:
    """A setting's result: ``score`` is the mean ``outer-val`` accuracy in percent, ``diverged`` a share of runs."""

    spec: str
    score: float
    diverged: float


@dataclass(frozen=True)
class Tuned:
    """What tuning found, and on what.

    Attributes:
        suite: name of the suite.
        data: name of the data.
        fingerprint: of the training images.
        tasks: names of the tasks.
        networks: kinds of network among them.
        seeds: all seeds used, over all tasks.
        inner_runs: inner runs that each family cost.
        families: family to its settings, best first.
        seconds: how long it took.
    """

    suite: str
    data: str
    fingerprint: str
    tasks: list[str]
    networks: list[str]
    seeds: list[int]
    inner_runs: dict[str, int]
    families: dict[str, list[Setting]]
    seconds: float

    def best(self, family: str) -> str:
        """The spec of a family's best setting."""
        return self.families[family][0].spec

    def warnings(self, suite: Suite, train: ImageData) -> list[str]:
        """What a reader must know if this tuning is used for a suite and data, one line each."""
        lines = []
        networks = sorted({task.network for task in suite.tasks})
        if not set(networks) <= set(self.networks):
            lines.append(
                f"hand-designed schedules were tuned on {'/'.join(self.networks)} networks ({self.suite}), "
                f"the suite has {'/'.join(networks)}"
            )
        if self.fingerprint != train.fingerprint:
            lines.append(f"hand-designed schedules were tuned on other images ({self.data})")
        return lines

    def save(self, path: str | Path) -> None:
        """Writes a JSON file."""
        atomic_write(path, json.dumps({"format_version": FORMAT_VERSION, **asdict(self)}, indent=1) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> Tuned:
        """Reads what :meth:`save` wrote.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is not one of these; the message names it.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no file of tuned schedules at {path}")
        try:
            content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            version = content.pop("format_version")
            if version != FORMAT_VERSION:
                raise ValueError(f"format version {version}, this program reads {FORMAT_VERSION}")
            families = {
                name: [Setting(str(s["spec"]), float(s["score"]), float(s["diverged"])) for s in settings]
                for name, settings in content.pop("families").items()
            }
            missing = sorted(
                set(family_settings()) - {name for name, settings in families.items() if settings}
            )
            if missing:
                raise ValueError(f"families missing: {', '.join(missing)}")
            for settings in families.values():
                parse_schedule(settings[0].spec)
            return cls(families=families, **content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a file of tuned schedules: {error}") from None


def check_tuning_suite(suite: Suite) -> None:
    """Refuses a suite that has no list of tasks, or that is not of the training side."""
    if not suite.tasks:
        raise ValueError(
            f"suite {suite.name} is a distribution; tuning needs a list, as cifar-mlp-validation"
        )
    if suite.fold != "agent":
        raise ValueError(
            f"suite {suite.name} is of the fold {suite.fold}; tuning may only see the fold agent"
        )


def tune(
    suite: Suite,
    train: ImageData,
    *,
    seeds: int = 2,
    constants: Sequence[float] = CONSTANT_GRID,
    config: TrainerConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
    settings: Mapping[str, Sequence[str]] | None = None,
) -> Tuned:
    """Runs every setting of every family on every task and seed, and ranks them.

    Args:
        suite: a list of tasks on the agent's fold.
        train: the training images.
        seeds: per task; the seeds are its own plus ``FIRST_TUNING_SEED``, and the next ones.
        constants: the grid of constants.
        config: device, precision and threads of the inner runs.
        progress: called with (runs done, runs in all).
        settings: family to specs, instead of :func:`family_settings`.

    Returns:
        The families with their settings, best first. A run without a finite accuracy counts as 0.

    Raises:
        ValueError: the suite has no list of tasks or is not of the training side.
    """
    check_tuning_suite(suite)
    if seeds < 1:
        raise ValueError(f"tuning needs at least 1 seed, got {seeds}")
    started = time.monotonic()
    families = family_settings(constants) if settings is None else settings
    specs = list(dict.fromkeys(spec for family in families.values() for spec in family))
    runs = [
        task.with_seed(FIRST_TUNING_SEED + task.seed + offset)
        for task in suite.tasks
        for offset in range(seeds)
    ]
    # One call for all, so that the trainer can fuse as many runs as it likes.
    jobs = [ScheduleJob(task, spec, parse_schedule(spec)) for spec in specs for task in runs]
    results = run_schedules(jobs, train, suite.fold, test=None, config=config, progress=progress)
    measured = {}
    for index, spec in enumerate(specs):
        part = results[index * len(runs) : (index + 1) * len(runs)]
        accuracy = np.nan_to_num([100.0 * run.outer_accuracy for run in part], nan=0.0)
        measured[spec] = Setting(
            spec, float(np.mean(accuracy)), float(np.mean([run.diverged for run in part]))
        )
    return Tuned(
        suite=suite.name,
        data=train.name,
        fingerprint=train.fingerprint,
        tasks=suite.task_names,
        networks=sorted({task.network for task in suite.tasks}),
        seeds=sorted({task.seed for task in runs}),
        inner_runs={name: len(part) * len(runs) for name, part in families.items()},
        families={
            name: sorted((measured[spec] for spec in part), key=lambda s: -s.score)
            for name, part in families.items()
        },
        seconds=time.monotonic() - started,
    )
