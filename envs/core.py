"""The control problem, written once: slots of inner runs, actions in, observations and rewards out.

The single and the vector environment are thin Gymnasium faces over :class:`ControlledRuns`, and schedules are judged
on the same (:mod:`lambda_rl.envs.rollout`): there is one way to train an interval under a λ, to measure it, and to
call a run lost.
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
from lambda_rl.observation import Observer, Signals

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

    def score(self, accuracy: npt.ArrayLike, loss: npt.ArrayLike, num_classes: npt.ArrayLike) -> Array:
        """The score (without ``scale``); a loss that is not finite counts as ``max_loss``."""
        scaled = np.asarray(loss, np.float64) / np.log(num_classes)
        scaled = np.minimum(np.nan_to_num(scaled, nan=self.max_loss, posinf=self.max_loss), self.max_loss)
        return self.accuracy_weight * np.asarray(accuracy, np.float64) - self.log_loss_weight * scaled

    def chance(self, num_classes: npt.ArrayLike) -> Array:
        """The score of guessing."""
        return self.score(1.0 / np.asarray(num_classes), np.log(num_classes), num_classes)


@dataclass
class Interval:
    """What an interval under a λ led to, arrays of n slots.

    Attributes:
        signals: what a schedule may see of the measurements: nothing of ``outer-val``.
        measured: losses and accuracies.
        diverged: a loss or weight was not finite.
        terminated: the run is at its end, or diverged.
    """

    signals: Signals[Array]
    measured: Measurements
    diverged: npt.NDArray[np.bool_]
    terminated: npt.NDArray[np.bool_]


@dataclass
class Outcome(Interval):
    """What one decision led to.

    Attributes:
        observation: float32 ``[n, F]``.
        reward: float64 ``[n]``.
    """

    observation: npt.NDArray[np.float32]
    reward: Array

    @property
    def log_lam(self) -> Array:
        """log₁₀ of the λ that was in force."""
        return self.signals.log_lam


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

    Attributes:
        runs: of each slot.
        log_lam: log₁₀ of the λ in force, ``[N]``.
        start_measures: norm of each run's penalised weights and R of them, before its first step.
        history: of each slot, a list for each of :data:`HISTORY_KEYS`, an entry per interval.

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
        self.start_measures = [(0.0, 0.0)] * num_slots
        self.history: list[dict[str, list[float]]] = [{} for _ in range(num_slots)]

    def run(self, slot: int) -> InnerRun:
        """The slot's run; an error if none was begun."""
        run = self.runs[slot]
        if run is None:
            raise RuntimeError("no inner run: call reset() before step()")
        return run

    def begin(self, slots: Sequence[int], tasks: Sequence[Task]) -> npt.NDArray[np.float32]:
        """Starts a run in each of some slots, in place of those that were there.

        Returns:
            The observations before their first intervals, ``[n, F]``.
        """
        runs = self.trainer.start_all(tasks)
        return np.stack([self._begin(*each) for each in zip(slots, tasks, runs, strict=True)])

    def _begin(self, slot: int, task: Task, run: InnerRun) -> npt.NDArray[np.float32]:
        self.runs[slot] = run
        self.log_lam[slot] = self.control.clip(math.log10(task.initial_lam))
        self.last_score[slot] = self.reward.chance(run.network.num_classes)
        self.history[slot] = {key: [] for key in HISTORY_KEYS}
        norm, penalty = self.start_measures[slot] = self.trainer.weight_measures(run)
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
        index = self._index(slots)
        log_lam = self.control.apply(self.log_lam[index], np.asarray(actions, np.float64).reshape(len(index)))
        interval = self.hold(log_lam, index)
        observation = self.observer.observe(interval.signals, index)
        score = self._score(index, interval)
        reward = self.reward.scale * (score - self.last_score[index])
        self.last_score[index] = score
        return Outcome(**vars(interval), observation=observation, reward=reward)

    def hold(
        self, log_lam: npt.ArrayLike, slots: Sequence[int] | npt.NDArray[np.int64] | None = None
    ) -> Interval:
        """Trains the next interval under a given λ, measures, and says which runs are lost.

        This is the only place that calls a run diverged: a weight, or a loss that schedules see, is not finite, or
        at the end the loss on ``outer-val``. (Before the end that one is for the reward alone, so that a run does not
        depend on whether it is rewarded.)

        Args:
            log_lam: log₁₀ λ ``[n]``; -inf is no penalty.
            slots: which slots; all of them by default.

        Raises:
            RuntimeError: a run was not begun, or has ended.
        """
        index = self._index(slots)
        runs = [self.run(i) for i in index]
        if any(run.finished for run in runs):
            raise RuntimeError("an inner run has ended: call reset() before the next step()")
        log_lam = np.asarray(log_lam, np.float64)
        self.log_lam[index] = log_lam
        measured = self.trainer.advance(runs, log_lam)
        signals = measured_signals(runs, measured, log_lam)
        ended = np.array([run.finished for run in runs])
        diverged = ~(measured.finite & (np.isfinite(measured.outer_loss) | ~ended))
        for n, slot in enumerate(map(int, index)):
            for key in HISTORY_KEYS:
                self.history[slot][key].append(float(getattr(signals, key)[n]))
        for lost in np.flatnonzero(diverged):
            runs[lost].decision = runs[lost].task.decisions  # a diverged run cannot be stepped again
        return Interval(signals, measured, diverged, ended | diverged)

    def _index(self, slots: Sequence[int] | npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
        return np.arange(len(self.runs)) if slots is None else np.asarray(slots, np.int64)

    def _score(self, index: npt.NDArray[np.int64], interval: Interval) -> Array:
        """The score of each slot; of lost runs that of guessing."""
        measured = interval.measured
        classes = np.array([self.run(i).network.num_classes for i in index])
        score = self.reward.score(measured.outer_accuracy, measured.outer_loss, classes)
        return np.where(interval.diverged, self.reward.chance(classes), score)

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
