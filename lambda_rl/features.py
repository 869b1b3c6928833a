"""What a policy observes: causal, scale-free features of a training run.

Training (``lambda_rl.envs``) and deployment (``lambda_rl.LearnedSchedule``) both compute them here, by formulas that
are written once for arrays of many inner runs and for the plain numbers of one (:mod:`lambda_rl.ops`).

Losses are divided by log C (C classes), so that 1 is what guessing gets on any data set; weights, learning rate and
penalty enter as ratios to their start or to the data loss. Before the first interval nothing has been measured:
the signals stand at chance level, and what a policy can know are the static facts of the run and the start λ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic

import numpy as np
import numpy.typing as npt

from lambda_rl.arguments import real_number, whole_number
from lambda_rl.control import ControlLaw
from lambda_rl.ops import Array, V, Value, ops_of

FEATURES_VERSION = 1
"""Raised whenever the meaning of a feature changes, so that an old policy file is refused, not misread."""

FEATURES: tuple[str, ...] = (
    "progress",
    "log_lam",
    "log_shrink",
    "train_loss",
    "val_loss",
    "loss_gap",
    "train_accuracy",
    "val_accuracy",
    "accuracy_gap",
    "delta_train_loss",
    "delta_val_loss",
    "delta_train_accuracy",
    "delta_val_accuracy",
    "delta_log_lam",
    "log_weight_norm",
    "delta_log_weight_norm",
    "log_penalty",
    "log_learning_rate",
    "log_num_train",
    "log_num_params",
    "log_epochs",
    "log_val_size",
)
NUM_FEATURES = len(FEATURES)
FEATURE_BOUND = 5.0
"""Every feature lies in [-FEATURE_BOUND, FEATURE_BOUND] and is finite, whatever the run does."""

_STATIC_SCALES = {
    "num_train": (3.5, 1.5),
    "num_params": (5.0, 1.5),
    "epochs": (1.0, 1.5),
    "val_size": (2.5, 1.0),
}
"""Static facts in the order of their features: (log₁₀ of the fact - first) / second."""

_MAX_LOSS = 4.0  # in units of log C; beyond it a run is lost, and how far no longer matters
_TINY = 1e-12


@dataclass(frozen=True)
class RunFacts:
    """What is known before a run starts.

    Attributes:
        num_train: training examples.
        num_params: parameters that the penalty acts on.
        val_size: validation examples that the signals are measured on.
        num_classes: classes C; chance loss is log C, chance accuracy 1/C.
        epochs: passes over the training examples in the whole run.
        lr_sum: effective learning rate summed over the steps of the whole run: Σ lr for decoupled decay and Adam,
            Σ lr / (1 - momentum) for SGD with momentum. ``lam * lr_sum`` is how many e-foldings L2 alone would
            shrink the weights by, which makes λ comparable between learning rates, momenta and budgets.

    Raises:
        ValueError: a number is not finite and positive, or there are fewer than two classes.
    """

    num_train: int
    num_params: int
    val_size: int
    num_classes: int
    epochs: float
    lr_sum: float

    def __post_init__(self) -> None:
        """Refuses facts that no run can have, and makes the others plain numbers, so that JSON can hold them."""
        for item in fields(self):
            name, value = f"run facts: {item.name}", getattr(self, item.name)
            if item.type == "int":
                number: float = whole_number(name, value, least=2 if item.name == "num_classes" else 1)
            else:
                number = real_number(name, value, more=True)
            object.__setattr__(self, item.name, number)


def typical_fact(name: str, feature: float) -> float:
    """The fact whose feature is ``feature``: with a policy's mean feature, what it was trained on.

    Args:
        name: ``num_train``, ``num_params``, ``epochs`` or ``val_size``.
        feature: of ``log_<name>``.
    """
    middle, width = _STATIC_SCALES[name]
    return float(10.0 ** (feature * width + middle))


@dataclass
class Signals(Generic[V]):
    """What is measured at a decision: arrays of n runs, or plain floats of one.

    Attributes:
        progress: share of the run's optimizer steps that are done, in [0, 1].
        log_lam: log₁₀ of the λ that was in force.
        train_loss: mean data loss (nats, without the penalty) over the interval's minibatches.
        val_loss: mean data loss on the validation examples.
        train_accuracy: as a fraction, over the interval's minibatches.
        val_accuracy: as a fraction.
        weight_norm: Euclidean norm of the penalised weights.
        penalty: λ · R(w), the term that the penalty adds to the loss.
        lr_ratio: learning rate over its value at the start.
    """

    progress: V
    log_lam: V
    train_loss: V
    val_loss: V
    train_accuracy: V
    val_accuracy: V
    weight_norm: V
    penalty: V
    lr_ratio: V


# A run's constants and what is remembered of its last decision, in the order of their rows.
_CONSTANTS = ("initial_norm", "log_classes", "chance", "log_lr_sum")
_REMEMBERED = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "log_lam", "log_weight_norm")


def _levels(signals: Signals[Any], constants: Sequence[Value]) -> tuple[Value, ...]:
    """The quantities whose differences are features too, scale-free and finite, in the order of ``_REMEMBERED``."""
    ops = ops_of(signals.train_loss)
    initial_norm, log_classes, chance, _ = constants

    def loss(value: Value) -> Value:
        return ops.clip(ops.if_nan(value / log_classes, _MAX_LOSS), 0.0, _MAX_LOSS)

    def accuracy(value: Value) -> Value:
        return ops.clip(ops.if_not_finite(value, chance), 0.0, 1.0)

    # A weight norm that is no number counts as unchanged, an infinite one as the bound.
    norm = ops.if_nan(ops.log10(ops.at_least(signals.weight_norm, _TINY) / initial_norm), 0.0)
    return (
        loss(signals.train_loss),
        loss(signals.val_loss),
        accuracy(signals.train_accuracy),
        accuracy(signals.val_accuracy),
        signals.log_lam,
        ops.if_not_finite(norm, FEATURE_BOUND),
    )


def _entries(
    signals: Signals[Any],
    level: Sequence[Value],
    before: Sequence[Value],
    constants: Sequence[Value],
    control: ControlLaw,
) -> tuple[Value, ...]:
    """The features that change during a run, in the order of ``FEATURES``; not yet bounded."""
    ops = ops_of(signals.train_loss)
    train_loss, val_loss, train_accuracy, val_accuracy, log_lam, log_norm = level
    return (
        2.0 * signals.progress - 1.0,
        control.position(signals.log_lam),
        (signals.log_lam + constants[3]) / 2.0,
        train_loss - 1.0,
        val_loss - 1.0,
        val_loss - train_loss,
        train_accuracy,
        val_accuracy,
        train_accuracy - val_accuracy,
        5.0 * (train_loss - before[0]),
        5.0 * (val_loss - before[1]),
        5.0 * (train_accuracy - before[2]),
        5.0 * (val_accuracy - before[3]),
        log_lam - before[4],
        2.0 * log_norm,
        5.0 * (log_norm - before[5]),
        ops.log10(ops.at_least(signals.penalty, _TINY) / ops.at_least(signals.train_loss, _TINY)) / 2.0,
        ops.log10(ops.at_least(signals.lr_ratio, _TINY)),
    )


def _bounded(value: Value) -> Value:
    ops = ops_of(value)
    return ops.clip(ops.if_nan(value, 0.0), -FEATURE_BOUND, FEATURE_BOUND)


class Observer:
    """Turns signals into features, and remembers the last decision's for the differences.

    Args:
        num_slots: N.
        control: gives the range of λ.
    """

    def __init__(self, num_slots: int, control: ControlLaw) -> None:
        self.control = control
        self.num_slots = num_slots
        self._previous = np.zeros((len(_REMEMBERED), num_slots))
        self._constants = np.tile(np.array([[1.0], [1.0], [0.0], [0.0]]), num_slots)
        self._static = np.zeros((num_slots, len(_STATIC_SCALES)))

    def reset(
        self, slot: int, facts: RunFacts, *, log_lam: float, weight_norm: float, penalty: float
    ) -> npt.NDArray[np.float32]:
        """Starts a run in a slot.

        Args:
            slot: which slot.
            facts: the run's static facts.
            log_lam: log₁₀ of the start λ.
            weight_norm: norm of the initial penalised weights.
            penalty: λ · R(w) at the start.

        Returns:
            The observation before the first interval, ``[NUM_FEATURES]``: signals at chance level.
        """
        log_classes, chance = math.log(facts.num_classes), 1.0 / facts.num_classes
        constants = (max(float(weight_norm), _TINY), log_classes, chance, math.log10(facts.lr_sum))
        self._constants[:, slot] = constants
        self._static[slot] = [
            (math.log10(getattr(facts, name)) - middle) / width
            for name, (middle, width) in _STATIC_SCALES.items()
        ]
        start = Signals(
            progress=0.0,
            log_lam=float(log_lam),
            train_loss=log_classes,
            val_loss=log_classes,
            train_accuracy=chance,
            val_accuracy=chance,
            weight_norm=float(weight_norm),
            penalty=float(penalty),
            lr_ratio=1.0,
        )
        self._previous[:, slot] = _levels(start, constants)
        return self.observe_one(start, slot)

    def observe_one(self, signals: Signals[float], slot: int = 0) -> npt.NDArray[np.float32]:
        """Features of one slot, and the memory for the next call.

        Args:
            signals: plain floats.
            slot: which slot they belong to.

        Returns:
            float32 ``[NUM_FEATURES]``, finite, within ±FEATURE_BOUND.
        """
        constants = self._constants[:, slot].tolist()
        level = _levels(signals, constants)
        entries = _entries(signals, level, self._previous[:, slot].tolist(), constants, self.control)
        self._previous[:, slot] = level
        return np.array([_bounded(entry) for entry in (*entries, *self._static[slot].tolist())], np.float32)

    def observe(
        self, signals: Signals[Array], slots: Sequence[int] | npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Features of the slots named, and the memory for the next call.

        Args:
            signals: arrays of ``len(slots)``.
            slots: which slots they belong to.

        Returns:
            float32 ``[len(slots), NUM_FEATURES]``, finite, within ±FEATURE_BOUND.
        """
        index = np.asarray(slots, np.int64)
        constants, before = self._constants[:, index], self._previous[:, index]
        with np.errstate(all="ignore"):
            level = _levels(signals, tuple(constants))
            entries = _entries(signals, level, tuple(before), tuple(constants), self.control)
        table = np.empty((len(index), NUM_FEATURES))
        for i, entry in enumerate(entries):
            table[:, i] = entry
        table[:, len(entries) :] = self._static[index]
        for row, value in zip(self._previous, level, strict=True):
            row[index] = value
        return np.asarray(_bounded(table), np.float32)

    def state_dict(self) -> dict[str, list[object]]:
        """Everything remembered, as plain lists."""
        named = (
            *zip(_REMEMBERED, self._previous, strict=True),
            *zip(_CONSTANTS, self._constants, strict=True),
        )
        return {**{name: row.tolist() for name, row in named}, "static": self._static.tolist()}

    def load_state_dict(self, state: dict[str, list[object]]) -> None:
        """Takes back what :meth:`state_dict` gave; the number of slots must agree."""
        for names, table in ((_REMEMBERED, self._previous), (_CONSTANTS, self._constants)):
            for name, row in zip(names, table, strict=True):
                row[:] = np.asarray(state[name], np.float64)
        self._static[:] = np.asarray(state["static"], np.float64)
