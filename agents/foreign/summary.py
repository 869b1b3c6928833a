"""``summary.json``: what the rows come to, as types that a page and other programs read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.optim import AdamW

from lambda_rl.agents.comparison.statistics import bootstrap_interval
from lambda_rl.agents.foreign.contestants import DEFAULT, GAP, RULE_OF_THUMB, constant_name, kappas
from lambda_rl.agents.foreign.feedback.differences import (
    AgentSeeds,
    Difference,
    agent_seeds,
    differences,
    is_policy,
)
from lambda_rl.agents.foreign.feedback.replay import REPLAYED
from lambda_rl.agents.foreign.feedback.static import LAW, SUGGESTED
from lambda_rl.agents.foreign.rows import Row
from lambda_rl.agents.foreign.task import ForeignTask
from lambda_rl.agents.record.typed_file import TypedFile

Array = npt.NDArray[np.float64]

NONE, KAPPA_2 = constant_name(0.0), constant_name(RULE_OF_THUMB)
BY_VALIDATION, ORACLE = "grid-by-validation", "oracle-constant"
OTHER_SEEDS = "oracle-of-other-seeds"
"""For each seed the constant that is best on all others: how much of a regret is that the oracle is chosen in view of
the runs that it is judged by."""

TAIL = 0.2

HARD = "grokking"
"""The family whose three tasks weigh as much as all others in a mean."""


@dataclass(frozen=True)
class TaskSummary:
    """A task, and what κ does there.

    Attributes:
        name: of the task.
        family: of the task.
        oracle_kappa: the constant with the best mean test accuracy over the seeds, in hindsight.
        by_constant: mean test accuracy of each constant, percent.
    """

    name: str
    family: str
    oracle_kappa: float
    by_constant: dict[str, float]


@dataclass(frozen=True)
class ContestantSummary:
    """What a contestant came to on the tasks that it has run with all seeds.

    Attributes:
        name: of the contestant.
        fingerprint: of a policy or of fitted numbers; else empty.
        runs: that a user pays for one result.
        tasks: mean test accuracy by task, percent.
        accuracy: mean over the tasks.
        regret: the oracle constant's accuracy minus this one's, points; the oracle is one constant a task, chosen on
            the mean of these seeds.
        regret_interval: 95 %, by a bootstrap over tasks, then seeds.
        regret_tail: mean over the worst fifth of the tasks.
        worst_task: where the regret is largest.
        worst_regret: there.
        worst_against_none: smallest mean difference to no penalty on a task, points.
        worse_than_none: shares of the tasks on which it is worse by more than 1 and more than 3 points.
        worse_than_default: the same against the framework's default.
        worse_than_plain: share on which it is worse by more than 2 points than the best of no penalty, default and
            κ = 2.
        warned: share of runs in which it said that something was wrong.
        mean_kappa: geometric mean of κ by task; empty where κ does not move.
    """

    name: str
    fingerprint: str
    runs: int
    tasks: dict[str, float]
    accuracy: float
    regret: float
    regret_interval: tuple[float, float]
    regret_tail: float
    worst_task: str
    worst_regret: float
    worst_against_none: float
    worse_than_none: tuple[float, float]
    worse_than_default: tuple[float, float]
    worse_than_plain: float
    warned: float
    mean_kappa: dict[str, float]


@dataclass(frozen=True)
class ForeignSummary(TypedFile):
    """The file.

    Attributes:
        format_version: of the file.
        seeds: of each task.
        tasks: in the order of the suite; those on which all constants were run with all seeds.
        left_out: tasks without all of these.
        contestants: by name.
        differences: of policies to λ that does not look at the run.
        agent_seeds: policies that differ in the seed of their training alone.
        command: that made it.
        commit: of the code.
        hardware: it ran on.
    """

    what = "a summary of foreign runs"
    version = 2

    format_version: int
    seeds: int
    tasks: tuple[TaskSummary, ...]
    left_out: tuple[str, ...]
    contestants: dict[str, ContestantSummary]
    differences: tuple[Difference, ...]
    agent_seeds: tuple[AgentSeeds, ...]
    command: str
    commit: str
    hardware: str


class Table:
    """Rows as numbers: test accuracies by task and contestant, a value a seed.

    Args:
        rows: of any tasks and seeds.
        tasks: that count; rows of other settings of theirs do not.
        seeds: how many.
    """

    def __init__(self, rows: Sequence[Row], tasks: Sequence[ForeignTask], seeds: int) -> None:
        digests = {task.name: task.digest for task in tasks}
        self._seeds = seeds
        self._rows = {
            (row.task, row.contestant, row.seed): row for row in rows if digests.get(row.task) == row.digest
        }
        self.names = {row.contestant: row.fingerprint for row in self._rows.values()}
        self.tasks = [task for task in tasks if all(len(self.of(task, name)) for name in self.needed(task))]
        self.oracle = {
            task.name: kappas(task)[int(np.argmax([self.of(task, name).mean() for name in self.grid(task)]))]
            for task in self.tasks
        }

    def grid(self, task: ForeignTask) -> list[str]:
        """Names of the task's constants."""
        return [constant_name(kappa) for kappa in kappas(task)]

    def needed(self, task: ForeignTask) -> list[str]:
        """Those that others are measured against."""
        return [*self.grid(task), DEFAULT]

    def rows(self, task: ForeignTask, name: str) -> list[Row]:
        """A contestant's rows by seed; none if one is missing."""
        found = [self._rows.get((task.name, name, seed)) for seed in range(self._seeds)]
        return [row for row in found if row is not None] if None not in found else []

    def of(self, task: ForeignTask, name: str) -> Array:
        """Test accuracies by seed, percent; empty if they are not all there."""
        if name == ORACLE:
            return self.of(task, constant_name(self.oracle[task.name]))
        if name == BY_VALIDATION:
            return self._by_validation(task)
        if name == OTHER_SEEDS:
            return self._by_other_seeds(task)
        if name == DEFAULT and task.optimizer is not AdamW:
            return self.of(task, NONE)
        return np.array([row.test_accuracy for row in self.rows(task, name)])

    def _by_validation(self, task: ForeignTask) -> Array:
        grid = [self.rows(task, name) for name in self.grid(task)]
        chosen = [
            max((rows[seed] for rows in grid), key=lambda row: (row.val_accuracy, -row.val_loss))
            for seed in range(self._seeds)
        ]
        return np.array([row.test_accuracy for row in chosen])

    def _by_other_seeds(self, task: ForeignTask) -> Array:
        if self._seeds < 2:
            return np.array([])
        grid = np.stack([self.of(task, name) for name in self.grid(task)])
        others = grid.sum(1, keepdims=True) - grid
        return np.asarray(grid[others.argmax(0), np.arange(self._seeds)])

    def runs(self, task: ForeignTask, name: str) -> int:
        """That a user pays for one result."""
        searched = {BY_VALIDATION: 1, ORACLE: 1, OTHER_SEEDS: self._seeds - 1}
        return len(kappas(task)) * searched[name] if name in searched else 1

    def policies(self) -> list[str]:
        """Names of the learned ones."""
        return sorted(name for name, fingerprint in self.names.items() if is_policy(name, fingerprint))

    def contestants(self) -> list[str]:
        """Names of those to tell of: policies first."""
        replays = sorted(name for name in self.names if name.startswith(REPLAYED))
        return [
            *self.policies(),
            *replays,
            LAW,
            SUGGESTED,
            NONE,
            DEFAULT,
            KAPPA_2,
            GAP,
            BY_VALIDATION,
            OTHER_SEEDS,
            ORACLE,
        ]


def summarise_contestant(table: Table, name: str) -> ContestantSummary | None:
    """What a contestant came to; None if no task has all its seeds."""
    tasks = [task for task in table.tasks if len(table.of(task, name))]
    if not tasks:
        return None
    scores, oracle, none, default, thumb = (
        np.stack([table.of(task, who) for task in tasks]) for who in (name, ORACLE, NONE, DEFAULT, KAPPA_2)
    )
    means, regrets = scores.mean(1), (oracle - scores).mean(1)
    plain = np.stack([none.mean(1), default.mean(1), thumb.mean(1)]).max(0)
    worst = int(np.argmax(regrets))
    rows = [row for task in tasks for row in table.rows(task, name)]
    kappa = {
        task.name: float(np.exp(np.mean([np.log(row.mean_kappa) for row in found])))
        for task in tasks
        if (found := [row for row in table.rows(task, name) if row.kappas])
    }

    def worse(than: Array, points: float) -> float:
        return float(np.mean(than - means > points))

    return ContestantSummary(
        name=name,
        fingerprint=table.names.get(name, ""),
        runs=table.runs(tasks[0], name),
        tasks={task.name: float(mean) for task, mean in zip(tasks, means, strict=True)},
        accuracy=float(means.mean()),
        regret=float(regrets.mean()),
        regret_interval=bootstrap_interval(oracle - scores, np.random.default_rng(0), unit="tasks"),
        regret_tail=float(np.sort(regrets)[-max(round(TAIL * len(tasks)), 1) :].mean()),
        worst_task=tasks[worst].name,
        worst_regret=float(regrets[worst]),
        worst_against_none=float((means - none.mean(1)).min()),
        worse_than_none=(worse(none.mean(1), 1.0), worse(none.mean(1), 3.0)),
        worse_than_default=(worse(default.mean(1), 1.0), worse(default.mean(1), 3.0)),
        worse_than_plain=worse(plain, 2.0),
        warned=float(np.mean([row.warned for row in rows])) if rows else 0.0,
        mean_kappa=kappa,
    )


def summarise(
    rows: Sequence[Row], tasks: Sequence[ForeignTask], seeds: int, origin: dict[str, str]
) -> ForeignSummary:
    """What the rows come to.

    Args:
        rows: of any tasks and seeds.
        tasks: that count.
        seeds: seeds 0 to this.
        origin: command, commit and hardware.

    Raises:
        ValueError: no task has all its constants.
    """
    table = Table(rows, tasks, seeds)
    if not table.tasks:
        raise ValueError(f"no task has all its constants with {seeds} seeds; nothing can be summed up")
    found = (summarise_contestant(table, name) for name in table.contestants())
    by_name = {task.name: task for task in table.tasks}

    def scores(task: str, name: str) -> Array:
        return table.of(by_name[task], name)

    oracle = {name: scores(name, ORACLE) for name in by_name}
    return ForeignSummary(
        format_version=ForeignSummary.version,
        seeds=seeds,
        tasks=tuple(
            TaskSummary(
                task.name,
                task.family,
                table.oracle[task.name],
                {name: float(table.of(task, name).mean()) for name in table.grid(task)},
            )
            for task in table.tasks
        ),
        left_out=tuple(task.name for task in tasks if task not in table.tasks),
        contestants={one.name: one for one in found if one is not None},
        differences=differences(table.policies(), list(by_name), scores),
        agent_seeds=agent_seeds(table.policies(), list(by_name), scores, oracle),
        command=origin["command"],
        commit=origin["commit"],
        hardware=origin["hardware"],
    )
