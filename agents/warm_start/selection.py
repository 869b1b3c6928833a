"""Which actor is kept: mean and lower tail of the regret on tasks half of whose kinds none was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lambda_rl.agents.warm_start.actor import Arrays
from lambda_rl.agents.warm_start.curves import LOG_KAPPAS, kernel
from lambda_rl.agents.warm_start.players import Job, Players
from lambda_rl.envs.tasks.task import Task

TAIL = 0.2
"""Share of the tasks that the lower tail is made of."""

CAP = 10.0
"""Points beyond which a regret counts no more in the selection."""


@dataclass(frozen=True)
class Verdict:
    """How an actor does on the validation tasks, in points.

    Attributes:
        regret: mean of (best constant in hindsight - actor).
        tail: mean regret of the worst fifth of the tasks (CVaR).
        gain: mean of (actor - no penalty).
        worst_loss: the most that a task lost against no penalty.
        regrets: of each task.
    """

    regret: float
    tail: float
    gain: float
    worst_loss: float
    regrets: tuple[float, ...]

    @property
    def score(self) -> float:
        """What is selected on, the higher the better: the mean regret, and a fifth as much again of its tail.

        Both of regrets cut at :data:`CAP`: a run that is lost by chance (a learning rate at the edge, two classes of
        which one is rare) would outweigh all others.
        """
        cut = np.minimum(self.regrets, CAP)
        return -float(cut.mean() + 0.2 * _worst(cut))


class Selection:
    """Validation tasks, and what constants come to on them; those are played once.

    Args:
        tasks: one run each; repeat a task with other seeds for less noise.
        players: on the validation tasks' fold.
    """

    def __init__(self, tasks: Sequence[Task], players: Players, arrays: Arrays) -> None:
        self._tasks, self._players = tasks, players
        jobs = [Job((0, i), task, LOG_KAPPAS, 0) for i, task in enumerate(tasks)]
        self.curves = 100.0 * np.stack([each.curve for each in players.begin(jobs, arrays)()])

    def judge(self, arrays: Arrays) -> Verdict:
        """Plays the actor, as it is deployed, on every task."""
        jobs = [Job((0, i), task, (), 1) for i, task in enumerate(self._tasks)]
        return self.verdict([each.accuracy[0] for each in self._players.begin(jobs, arrays)()])

    def verdict(self, accuracy: npt.ArrayLike) -> Verdict:
        """Of final accuracies, one a task, as fractions."""
        return verdict_of(self.curves, 100.0 * np.asarray(accuracy, np.float64))

    @property
    def reference(self) -> dict[str, float]:
        """Mean regret of the best single constant and of no penalty, in points."""
        found = [self.verdict(column / 100.0).regret for column in self.curves.T]
        return {"regret_best_constant": round(min(found), 3), "regret_no_penalty": round(found[0], 3)}


def verdict_of(curves: npt.NDArray[np.float64], accuracy: npt.NDArray[np.float64]) -> Verdict:
    """How an actor does beside constants.

    Args:
        curves: final accuracies under :data:`~lambda_rl.agents.warm_start.curves.LOG_KAPPAS`, percent ``[T, G]``.
        accuracy: the actor's, percent ``[T]``.
    """
    # Smoothed, for the best of twelve noisy numbers is too good.
    regrets = (curves @ kernel().T).max(1) - accuracy
    gains = accuracy - curves[:, 0]
    return Verdict(
        float(regrets.mean()),
        _worst(regrets),
        float(gains.mean()),
        float(-gains.min()),
        tuple(regrets.tolist()),
    )


def _worst(regrets: npt.NDArray[np.float64]) -> float:
    """Mean of the worst share of them."""
    return float(np.sort(regrets)[::-1][: max(1, round(TAIL * len(regrets)))].mean())
