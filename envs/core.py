"""The control problem, written once: slots of inner runs, actions in, observations and rewards out.

The single and the vector environment are thin Gymnasium faces over :class:`ControlledRuns`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lambda_rl.control import ControlLaw
from lambda_rl.envs.runs import InnerRun
from lambda_rl.envs.tasks import Task
from lambda_rl.envs.trainer import Measurements, Trainer
from lambda_rl.features import Observer, Signals

Array = npt.NDArray[np.float64]

HISTORY_KEYS = ("progress", "log_lam", "train_loss", "val_loss", "train_accuracy", "val_accuracy")


@dataclass(frozen=True)
class RewardConfig:
    """The score whose change from decision to decision is the reward.

    ``score = accuracy_weight · accuracy - log_loss_weight · min(loss / log C, max_loss)`` on ``outer-val``, times
    ``scale``. The log-loss part is there because accuracy alone is noisy on few images (design.md: it learned twice
    as fast). Rewards of an episode sum to the final score minus that of guessing.

    Attributes:
        scale: of the reward.
        accuracy_weight: weight of the accuracy, a fraction.
        log_loss_weight: weight of the loss in units of log C.
        max_loss: where the loss is clipped, in units of log C.
        outer_size: images of ``outer-val`` drawn per run for the score at each decision; the last decision takes
            the whole part, so that the sum of the rewards is less noisy than its terms.
    """

    scale: float = 5.0
    accuracy_weight: float = 1.0
    log_loss_weight: float = 1.0
    max_loss: float = 2.0
    outer_size: int = 500

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if min(self.accuracy_weight, self.log_loss_weight) < 0 or self.scale <= 0 or self.max_loss <= 0:
            raise ValueError(f"reward: weights must not be negative, scale and max_loss positive; got {self}")
        if self.outer_size < 1:
            raise ValueError(f"reward: outer_size must be at least 1, got {self.outer_size}")

    def score(self, accuracy: npt.ArrayLike, loss: npt.ArrayLike, num_classes: int) -> Array:
        """The score (without ``scale``); a loss that is not finite counts as ``max_loss``."""
        scaled = np.asarray(loss, np.float64) / math.log(num_classes)
        scaled = np.minimum(np.nan_to_num(scaled, nan=self.max_loss, posinf=self.max_loss), self.max_loss)
        return self.accuracy_weight * np.asarray(accuracy, np.float64) - self.log_loss_weight * scaled

    def chance(self, num_classes: int) -> float:
        """The score of guessing."""
        return float(self.score(1.0 / num_classes, math.log(num_classes), num_classes))


@dataclass
class Outcome:
    """What one decision led to, arrays of n slots.

    Attributes:
        observation: float32 ``[n, NUM_FEATURES]``.
        reward: float64 ``[n]``.
        terminated: the run is at its end, or diverged.
        diverged: a loss or weight was not finite.
        measured: losses and accuracies.
        log_lam: log₁₀ of the λ that was in force.
    """

    observation: npt.NDArray[np.float32]
    reward: Array
    terminated: npt.NDArray[np.bool_]
    diverged: npt.NDArray[np.bool_]
    measured: Measurements
    log_lam: Array


def measured_signals(runs: Sequence[InnerRun], measured: Measurements, log_lam: Array) -> Signals[Array]:
    """What a schedule may see of the measurements: nothing of ``outer-val``."""
    return Signals(
        progress=np.array([run.progress for run in runs]),
        log_lam=log_lam,
        train_loss=measured.train_loss,
        val_loss=measured.val_loss,
        train_accuracy=measured.train_accuracy,
        val_accuracy=measured.val_accuracy,
        weight_norm=measured.weight_norm,
        penalty=measured.penalty,
        lr_ratio=np.array([run.lr_ratio for run in runs]),
    )


class ControlledRuns:
    """N slots, each with its own inner run whose λ is controlled.

    Args:
        num_slots: N.
        trainer: trains the runs.
        control: from action to λ.
        reward: what is rewarded.
    """

    def __init__(self, num_slots: int, trainer: Trainer, control: ControlLaw, reward: RewardConfig) -> None:
        self.trainer, self.control, self.reward = trainer, control, reward
        self.observer = Observer(num_slots, control)
        self.runs: list[InnerRun | None] = [None] * num_slots
        self.log_lam = np.zeros(num_slots)
        self.last_score = np.zeros(num_slots)
        self.history: list[dict[str, list[float]]] = [{} for _ in range(num_slots)]
        self._num_classes = trainer.data.num_classes

    def run(self, slot: int) -> InnerRun:
        """The slot's run; an error if none was begun."""
        run = self.runs[slot]
        if run is None:
            raise RuntimeError("no inner run: call reset() before step()")
        return run

    def begin(self, slots: Sequence[int], tasks: Sequence[Task]) -> npt.NDArray[np.float32]:
        """Starts a run in each of some slots, in place of those that were there.

        Returns:
            The observations before their first intervals, ``[n, NUM_FEATURES]``.
        """
        runs = self.trainer.start_all(tasks)
        return np.stack([self._begin(*each) for each in zip(slots, tasks, runs, strict=True)])

    def _begin(self, slot: int, task: Task, run: InnerRun) -> npt.NDArray[np.float32]:
        self.runs[slot] = run
        self.log_lam[slot] = self.control.clip(math.log10(task.initial_lam))
        self.last_score[slot] = self.reward.chance(self._num_classes)
        self.history[slot] = {key: [] for key in HISTORY_KEYS}
        norm, penalty = self.trainer.weight_measures(run)
        log_lam = float(self.log_lam[slot])
        return self.observer.reset(
            slot, run.facts, log_lam=log_lam, weight_norm=norm, penalty=10.0**log_lam * penalty
        )

    def step(self, actions: npt.ArrayLike, slots: Sequence[int] | None = None) -> Outcome:
        """Moves λ by the actions, trains the next interval, measures.

        Args:
            actions: ``[n]``, in [-1, 1].
            slots: which slots; all of them by default.
        """
        index = np.arange(len(self.runs)) if slots is None else np.asarray(slots, np.int64)
        runs = [self.run(i) for i in index]
        if any(run.finished for run in runs):
            raise RuntimeError("an inner run has ended: call reset() before the next step()")
        log_lam = self.control.apply(self.log_lam[index], np.asarray(actions, np.float64).reshape(len(index)))
        self.log_lam[index] = log_lam
        measured = self.trainer.advance(runs, log_lam)
        signals = measured_signals(runs, measured, log_lam)
        observation = self.observer.observe(signals, index)
        diverged = ~(measured.finite & np.isfinite(measured.outer_loss))
        chance = self.reward.chance(self._num_classes)
        score = self.reward.score(measured.outer_accuracy, measured.outer_loss, self._num_classes)
        score = np.where(diverged, chance, score)
        reward = self.reward.scale * (score - self.last_score[index])
        self.last_score[index] = score
        for n, slot in enumerate(map(int, index)):
            for key in HISTORY_KEYS:
                self.history[slot][key].append(float(getattr(signals, key)[n]))
        ended = np.array([run.finished for run in runs])
        for lost in np.flatnonzero(diverged):
            runs[lost].decision = runs[lost].task.decisions  # a diverged run cannot be stepped again
        return Outcome(observation, reward, ended | diverged, diverged, measured, log_lam)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit: plain values and tensors."""
        return {
            "runs": [None if run is None else run.state_dict() for run in self.runs],
            "log_lam": self.log_lam.tolist(),
            "last_score": self.last_score.tolist(),
            "history": [{key: list(values) for key, values in h.items()} for h in self.history],
            "observer": self.observer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave; the number of slots must agree."""
        if len(state["runs"]) != len(self.runs):
            raise ValueError(f"state of {len(state['runs'])} slots does not fit {len(self.runs)} slots")
        for slot, saved in enumerate(state["runs"]):
            if saved is None:
                self.runs[slot] = None
                continue
            run = self.trainer.start(Task.from_mapping(saved["task"]))
            run.load_state_dict(saved)
            self.runs[slot] = run
        self.log_lam[:] = state["log_lam"]
        self.last_score[:] = state["last_score"]
        self.history = [{key: list(values) for key, values in h.items()} for h in state["history"]]
        self.observer.load_state_dict(state["observer"])
