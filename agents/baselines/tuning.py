"""Tuning of the baselines on the training side, so that the comparison with them is fair.

Each family of schedules gets a grid of at least 16 settings (the constants: their grid). Every setting runs on every
task and seed of a validation suite, on the agent's fold of the training images, and the one with the best mean
accuracy on ``outer-val`` is the family's entry in the comparison. The test part is not loaded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lambda_rl.agents.baselines.contestant import Announcing, Contestant, ScheduleContestant
from lambda_rl.agents.baselines.families import (
    BASELINES,
    CONSTANT,
    CONSTANT_GRID,
    check_constants,
    family_of,
    hand_designed_families,
    make_schedule,
)
from lambda_rl.agents.baselines.judge import Cell, Judge
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.tasks.suites import Suite
from lambda_rl.files import atomic_write

FORMAT_VERSION = 1

FIRST_TUNING_SEED = 10_000
"""Added to the seeds of tasks for tuning, so that a tuning run shares no seed with a run of the comparison."""


def tuning_settings(
    constants: Sequence[float] = CONSTANT_GRID, most: int = 0, families: Sequence[str] = ()
) -> dict[str, list[str]]:
    """The settings that each family is tuned over, as text; families that are not tuned are left out.

    Args:
        constants: the grid of constants.
        most: see :meth:`~lambda_rl.agents.baselines.families.Baseline.settings`.
        families: that are tuned beside constants and those that take part by default.

    Raises:
        ValueError: a constant is negative or not finite, or the grid is empty.
    """
    check_constants(constants)
    tuned = {*hand_designed_families(), *families}
    settings = {
        name: family.settings(constants, most)
        for name, family in BASELINES.items()
        if name in tuned or family.kind == CONSTANT
    }
    return {name: specs for name, specs in settings.items() if specs}


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
        """The text of a family's best setting.

        Raises:
            ValueError: the family was not tuned.
        """
        if family not in self.families:
            raise ValueError(
                f"{family} is not among the tuned families ({', '.join(self.families)}); tune anew, or leave it out"
            )
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
            if not families or not all(families.values()):
                raise ValueError("families missing, or without settings")
            for name, settings in families.items():
                if name in BASELINES:  # of others there is nobody to ask
                    BASELINES[name].contestant(settings[0].spec)
            return cls(families=families, **content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a file of tuned schedules: {error}") from None


def check_tuning_suite(suite: Suite) -> None:
    """Refuses a suite that has no list of tasks, or that is not of the training side."""
    suite.listed("tuning")
    if suite.fold != "agent":
        raise ValueError(
            f"suite {suite.name} is of the fold {suite.fold}; tuning may only see the fold agent"
        )


def tune(
    suite: Suite,
    judge: Judge,
    *,
    seeds: int = 2,
    settings: Mapping[str, Sequence[str]] | None = None,
    searches: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Tuned:
    """Runs every setting of every family on every task and seed, and ranks them.

    Args:
        suite: a list of tasks on the agent's fold.
        judge: of that fold, without test images.
        seeds: per task; the seeds are its own plus ``FIRST_TUNING_SEED``, and the next ones.
        settings: family to its settings; None: :func:`tuning_settings`.
        searches: families whose settings are searched for; those that are not are passed over.
        progress: called with (runs done, runs in all).

    Returns:
        The families with their settings, best first. A run without a finite accuracy counts as 0.

    Raises:
        ValueError: the suite has no list of tasks or is not of the training side, or the judge sees more than it may.
    """
    check_tuning_suite(suite)
    if judge.fold != suite.fold or judge.test is not None:
        raise ValueError(f"tuning may see images of the fold {suite.fold} only, and no test images")
    if seeds < 1:
        raise ValueError(f"tuning needs at least 1 seed, got {seeds}")
    families = tuning_settings() if settings is None else settings
    cells = tuning_cells(suite, seeds)
    bench = _Bench(cells, judge, progress)
    measured = bench.measure(list(dict.fromkeys(spec for family in families.values() for spec in family)))
    tried = {name: [measured[spec] for spec in part] for name, part in families.items()}
    tried |= {name: found for name in searches if (found := bench.search(name))}
    return Tuned(
        suite=suite.name,
        data=judge.train.name,
        fingerprint=judge.train.fingerprint,
        tasks=suite.task_names,
        networks=sorted({task.network for task in suite.tasks}),
        seeds=sorted({cell.task.seed for cell in cells}),
        inner_runs={name: len(part) * len(cells) for name, part in tried.items()},
        families={name: sorted(part, key=lambda s: -s.score) for name, part in tried.items()},
        seconds=bench.seconds,
    )


def tuning_cells(suite: Suite, seeds: int) -> list[Cell]:
    """Every task of a suite with the seeds of tuning, none of which a comparison has."""
    return [
        Cell(name, task.with_seed(FIRST_TUNING_SEED + task.seed + offset))
        for name, task in zip(suite.task_names, suite.tasks, strict=True)
        for offset in range(seeds)
    ]


class _Bench:
    """Where settings are measured.

    Args:
        cells: tasks and seeds.
        judge: does the runs.
        progress: see :func:`tune`; a search adds to the runs in all as it goes.

    Attributes:
        seconds: how long all took.
    """

    def __init__(
        self, cells: Sequence[Cell], judge: Judge, progress: Callable[[int, int], None] | None
    ) -> None:
        self.cells, self.judge, self.progress = cells, judge, progress
        self.seconds = 0.0
        self._before = 0

    def measure(self, specs: Sequence[str]) -> dict[str, Setting]:
        """The settings' results by their text."""
        contestants = [_contestant(spec) for spec in specs]
        announced = [item for item in contestants if isinstance(item, Announcing)]
        # One call for all, so that the trainer can fuse as many runs as it likes.
        self.judge([job for item in announced for job in item.jobs(self.cells)], self._tell)
        measured = {}
        for contestant in contestants:
            if isinstance(contestant, Announcing):
                played = list(contestant.play(self.cells, self.judge))
            else:
                played = list(self.judge.games(contestant, self.cells))
            accuracy = np.nan_to_num([100.0 * item.result.outer_accuracy for item in played], nan=0.0)
            diverged = np.mean([item.result.diverged for item in played])
            measured[contestant.spec] = Setting(contestant.spec, float(np.mean(accuracy)), float(diverged))
            self.seconds += sum(item.seconds for item in played)
        self._before += len(announced) * len(self.cells)
        return measured

    def search(self, name: str) -> list[Setting]:
        """All settings that a family's search tried; none if it has no search."""
        search = BASELINES[name].search()
        found: dict[str, Setting] = {}
        while search is not None and (specs := search.ask()):
            found |= self.measure([spec for spec in dict.fromkeys(specs) if spec not in found])
            search.tell({spec: found[spec].score for spec in specs})
        return list(found.values())

    def _tell(self, done: int, total: int) -> None:
        if self.progress is not None:
            self.progress(self._before + done, self._before + total)


def _contestant(spec: str) -> Contestant:
    family = family_of(spec)
    if family is None:
        return ScheduleContestant(spec, "setting", spec, make_schedule(spec))
    return family.contestant(spec, spec)
