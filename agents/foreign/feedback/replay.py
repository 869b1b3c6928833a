"""A policy's mean trajectory, replayed: what it does on average, without looking at the run."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.optim import Adam, Optimizer

from lambda_rl import ReplaySchedule, Schedule
from lambda_rl.agents.foreign.feedback.static import decay_of_one, digest
from lambda_rl.agents.foreign.loop import RunFigures
from lambda_rl.agents.foreign.rows import Row
from lambda_rl.agents.foreign.task import ForeignTask
from lambda_rl.observation.facts import ADAM_PULL

Array = npt.NDArray[np.float64]

REPLAYED = "replayed:"
"""What the name of a replay begins with; the policy's follows."""

INTERVALS = 120
"""Of a trajectory: a multiple of how often validation is looked at in most of the tasks."""

SMALLEST = 1e-9
"""κ below it counts as it, so that there is a logarithm."""


@dataclass(frozen=True)
class Replayed:
    """An open-loop schedule of κ.

    Attributes:
        policy: its name.
        source: its fingerprint.
        log_kappa: log₁₀ κ in each of equal intervals of the run, by the peak learning rate.
        feedback: the loop calls it as it calls a policy, so that κ changes at the same steps; it does not look.
    """

    policy: str
    source: str
    log_kappa: tuple[float, ...]
    feedback: bool = True

    @property
    def name(self) -> str:
        """In files and tables."""
        return REPLAYED + self.policy

    @property
    def fingerprint(self) -> str:
        """Changes with the policy and the trajectory."""
        return f"replayed-{digest(repr((self.source, [round(log, 6) for log in self.log_kappa])))}"

    def schedule(self, optimizer: Optimizer, run: RunFigures) -> Schedule:
        """The trajectory, stretched over the run."""
        one, count = decay_of_one(optimizer, run.total_steps), len(self.log_kappa)
        trace = [(place / count, one * 10.0**log) for place, log in enumerate(self.log_kappa)]
        return ReplaySchedule(trace, optimizer, total_steps=run.total_steps)


def replayed(policy: str, rows: Iterable[Row], tasks: Iterable[ForeignTask]) -> Replayed | None:
    """The mean trajectory of a policy: over seeds, then over tasks, of log κ as a function of progress.

    Args:
        policy: its name in the rows.
        rows: of anybody.
        tasks: all that there are; rows of other settings of theirs are passed over.

    Returns:
        None if there are no rows of it.
    """
    found, source = trajectories(policy, rows, tasks)
    if not found:
        return None
    mean = np.mean([np.mean(runs, axis=0) for runs in found.values()], axis=0)
    return Replayed(policy, source, tuple(mean.tolist()))


def trajectories(
    policy: str, rows: Iterable[Row], tasks: Iterable[ForeignTask]
) -> tuple[dict[str, list[Array]], str]:
    """What a policy did, log₁₀ κ as it acts in it in each of :data:`INTERVALS`, by task; and its fingerprint.

    Args:
        policy: see :func:`replayed`, as the next two.
        rows: of anybody.
        tasks: all that there are.
    """
    by_name = {task.name: task for task in tasks}
    found: dict[str, list[Array]] = defaultdict(list)
    source = ""
    for row in sorted(rows, key=lambda row: row.key):
        task = by_name.get(row.task)
        if row.contestant == policy and row.kappas and task is not None and row.digest == task.digest:
            found[task.name].append(_trajectory(row) + math.log10(nominal_over_true(task)))
            source = row.fingerprint
    return found, source


def nominal_over_true(task: ForeignTask) -> float:
    """What the κ of a row is multiplied by to be the κ that a policy acts in.

    Rows have λ times the learning rates truly summed; a user's loop knows their peak only, and Adam with coupled decay
    pulls more than its rate says.
    """
    return task.peak_over_mean * (ADAM_PULL if task.optimizer is Adam else 1.0)


def _trajectory(row: Row) -> Array:
    """log₁₀ κ in each of :data:`INTERVALS`; its decisions are taken to be equally far apart."""
    logs = np.log10(np.maximum(row.kappas, SMALLEST))
    return np.asarray(logs[np.arange(INTERVALS) * len(logs) // INTERVALS])
