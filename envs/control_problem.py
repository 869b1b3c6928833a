"""The control problem, written once: slots of inner runs, actions in, observations and rewards out.

The single and the vector environment are thin Gymnasium faces over :class:`ControlledRuns`, and schedules are judged
on the same (:mod:`lambda_rl.envs.judging`): there is one way to train an interval under a λ, to measure it, and to
call a run lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from lambda_rl.control import ControlLaw
from lambda_rl.envs.moved import check_knobs
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.run import InnerRun, start_log_lam
from lambda_rl.envs.training.trainer import Measurements, Trainer
from lambda_rl.knobs import KAPPA, LAM, UNITS, Knob, kind_of
from lambda_rl.observation import Observer, Signals, default_features

Array = npt.NDArray[np.float64]

HISTORY_KEYS = ("progress", "log_lam", "train_loss", "val_loss", "train_accuracy", "val_accuracy")


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


def measured_signals(
    runs: Sequence[InnerRun], measured: Measurements, log_lam: Array, log_knobs: Mapping[str, Array]
) -> Signals[Array]:
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
        knobs=log_knobs,
    )


class ControlledRuns:
    """N slots, each with its own inner run whose λ is controlled.

    Attributes:
        runs: of each slot.
        log_lam: log₁₀ of the λ in force, ``[N]``.
        offset: log₁₀ κ - log₁₀ λ of each run where κ is the unit, ``[N]``; else 0.
        start_measures: norm of each run's penalised weights and R of them, before its first step.
        history: of each slot, a list for each of :data:`HISTORY_KEYS`, an entry per interval.

    Args:
        num_slots: N.
        trainer: trains the runs.
        control: from action to λ, or to κ, where that is the unit.
        reward: what is rewarded.
        knobs: moved beside λ; their kinds are registered in :data:`lambda_rl.knobs.KNOBS`. Each begins at its neutral
            value.
        features: names of what is observed; None: those of the unit (:func:`lambda_rl.observation.default_features`).
        unit: what the first action moves, λ (``lam``) or κ = λ · Σ learning rate (``kappa``); one of
            :data:`lambda_rl.knobs.UNITS`.

    Raises:
        ValueError: there is no such unit or feature.
    """

    def __init__(
        self,
        num_slots: int,
        trainer: Trainer,
        control: ControlLaw,
        reward: RewardConfig,
        knobs: Sequence[Knob] = (),
        features: Sequence[str] | None = None,
        unit: str = LAM,
    ) -> None:
        if unit not in UNITS:
            raise ValueError(f"unknown unit {unit!r}; allowed: {', '.join(UNITS)}")
        self.unit = unit
        self.trainer, self.control, self.reward = trainer, control, reward
        self.knobs = {knob.name: ControlLaw.from_knob(knob) for knob in knobs}
        names = default_features(unit, knobs) if features is None else features
        self.observer = Observer(num_slots, control, names, knobs)
        self.log_knobs = {name: np.zeros(num_slots) for name in self.knobs}
        self.runs: list[InnerRun | None] = [None] * num_slots
        self.log_lam = np.zeros(num_slots)
        self.offset = np.zeros(num_slots)
        self.last_score = np.zeros(num_slots)
        self._classes = np.zeros(num_slots, np.int64)
        self.start_measures = [(0.0, 0.0)] * num_slots
        self.history: list[dict[str, list[float]]] = [{} for _ in range(num_slots)]

    def run(self, slot: int) -> InnerRun:
        """The slot's run; an error if none was begun."""
        run = self.runs[slot]
        if run is None:
            raise RuntimeError("no inner run: call reset() before step()")
        return run

    def _offset(self, run: InnerRun) -> float:
        return math.log10(run.facts.decay_sum) if self.unit == KAPPA else 0.0

    def begin(self, slots: Sequence[int], tasks: Sequence[Task]) -> npt.NDArray[np.float32]:
        """Starts a run in each of some slots, in place of those that were there.

        Returns:
            The observations before their first intervals, ``[n, F]``.
        """
        runs, index = self.trainer.start_all(tasks), np.asarray(slots, np.int64)
        for task, run in zip(tasks, runs, strict=True):
            check_knobs(self.knobs, task, run.network)
        for slot, run in zip(slots, runs, strict=True):
            self.runs[slot], self.start_measures[slot] = run, run.start_measures
            self.history[slot] = {key: [] for key in HISTORY_KEYS}
        self.offset[index] = [self._offset(run) for run in runs]
        start = np.array([start_log_lam(run.task, run.facts) for run in runs])
        log_lam = self.log_lam[index] = self.control.clip(start, self.offset[index])
        self._classes[index] = [run.network.num_classes for run in runs]
        self.last_score[index] = self.reward.chance(self._classes[index])
        for name, law in self.knobs.items():
            kind = kind_of(name)
            self.log_knobs[name][index] = law.clip(kind.level(kind.neutral))
        norm, penalty = np.array([run.start_measures for run in runs]).T
        return self.observer.reset_many(
            index,
            [run.facts for run in runs],
            log_lam=log_lam,
            weight_norm=norm,
            penalty=np.array([10.0**one for one in log_lam.tolist()]) * penalty,
            log_knobs={name: values[index] for name, values in self.log_knobs.items()},
        )

    def step(self, actions: npt.ArrayLike, slots: Sequence[int] | None = None) -> Outcome:
        """Moves λ, and the other knobs, by the actions, trains the next interval, measures.

        Args:
            actions: ``[n, A]`` in [-1, 1], λ (or κ) first; ``[n]`` where it is all there is.
            slots: which slots; all of them by default.
        """
        index = self._index(slots)
        moves = np.asarray(actions, np.float64).reshape(len(index), 1 + len(self.knobs))
        log_lam = self.control.apply(self.log_lam[index], moves[:, 0], self.offset[index])
        log_knobs = {
            name: law.apply(self.log_knobs[name][index], moves[:, a])
            for a, (name, law) in enumerate(self.knobs.items(), 1)
        }
        interval = self.hold(log_lam, index, log_knobs)
        observation = self.observer.observe(interval.signals, index)
        score = self._score(index, interval)
        reward = self.reward.scale * (score - self.last_score[index])
        self.last_score[index] = score
        return Outcome(**vars(interval), observation=observation, reward=reward)

    def hold(
        self,
        log_lam: npt.ArrayLike,
        slots: Sequence[int] | npt.NDArray[np.int64] | None = None,
        log_knobs: Mapping[str, Array] = MappingProxyType({}),
    ) -> Interval:
        """Trains the next interval under a given λ, measures, and says which runs are lost.

        This is the only place that calls a run diverged: a weight, or a loss that schedules see, is not finite, or
        at the end the loss on ``outer-val``. (Before the end that one is for the reward alone, so that a run does not
        depend on whether it is rewarded.)

        Args:
            log_lam: log₁₀ λ ``[n]``; -inf is no penalty.
            slots: which slots; all of them by default.
            log_knobs: levels ``[n]`` of further knobs, by name: log₁₀ of the values, of linear kinds the values.

        Raises:
            RuntimeError: a run was not begun, or has ended.
        """
        index = self._index(slots)
        runs = [self.run(i) for i in index]
        if any(run.finished for run in runs):
            raise RuntimeError("an inner run has ended: call reset() before the next step()")
        log_lam = np.asarray(log_lam, np.float64)
        self.log_lam[index] = log_lam
        for name, values in log_knobs.items():
            self.log_knobs.setdefault(name, np.zeros(len(self.runs)))[index] = values
        measured = self.trainer.advance(runs, log_lam, log_knobs)
        signals = measured_signals(runs, measured, log_lam, log_knobs)
        ended = np.array([run.finished for run in runs])
        diverged = ~(measured.finite & (np.isfinite(measured.outer_loss) | ~ended))
        histories = [self.history[slot] for slot in index]
        for key in HISTORY_KEYS:
            for history, value in zip(histories, getattr(signals, key).tolist(), strict=True):
                history[key].append(value)
        for lost in np.flatnonzero(diverged):
            runs[lost].decision = runs[lost].task.decisions  # a diverged run cannot be stepped again
        return Interval(signals, measured, diverged, ended | diverged)

    def _index(self, slots: Sequence[int] | npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
        return np.arange(len(self.runs)) if slots is None else np.asarray(slots, np.int64)

    def _score(self, index: npt.NDArray[np.int64], interval: Interval) -> Array:
        """The score of each slot; of lost runs that of guessing."""
        measured = interval.measured
        classes = self._classes[index]
        score = self.reward.score(measured.outer_accuracy, measured.outer_loss, classes)
        return np.where(interval.diverged, self.reward.chance(classes), score)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on bit for bit: plain values and tensors."""
        return {
            "runs": [None if run is None else run.state_dict() for run in self.runs],
            "log_lam": self.log_lam.tolist(),
            "log_knobs": {name: values.tolist() for name, values in self.log_knobs.items()},
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
            self.offset[slot], self._classes[slot] = self._offset(run), run.network.num_classes
        self.log_lam[:] = state["log_lam"]
        for name, values in self.log_knobs.items():
            values[:] = state["log_knobs"][name]
        self.last_score[:] = state["last_score"]
        self.history = [{key: list(values) for key, values in h.items()} for h in state["history"]]
        self.observer.load_state_dict(state["observer"])
