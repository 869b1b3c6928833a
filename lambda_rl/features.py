"""What a policy observes: causal, scale-free features of a training run.

Training (``lambda_rl.envs``) and deployment (``lambda_rl.LearnedSchedule``) both compute them here. Everything is
vectorised over N slots (one slot is one inner run), so that a single run is the case N = 1.

Losses are divided by log C (C classes), so that 1 is what guessing gets on any data set; weights, learning rate and
penalty enter as ratios to their start or to the data loss. Before the first interval nothing has been measured:
the signals stand at chance level, and what a policy can know are the static facts of the run and the start λ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from lambda_rl.control import ControlLaw

Array = npt.NDArray[np.float64]

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


def _clip(value: Array, low: float, high: float) -> Array:
    """``np.clip``, which costs several times as much on a few numbers; a NaN stays."""
    return np.minimum(np.maximum(value, low), high)


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
    """

    num_train: int
    num_params: int
    val_size: int
    num_classes: int
    epochs: float
    lr_sum: float

    def __post_init__(self) -> None:
        """Refuses facts that no run can have."""
        for item in fields(self):
            value = getattr(self, item.name)
            least = 2 if item.name == "num_classes" else 0
            if not math.isfinite(value) or value <= 0 or value < least:
                raise ValueError(
                    f"run facts: {item.name} must be finite and positive (classes >= 2), got {value}"
                )


def typical_fact(name: str, feature: float) -> float:
    """The fact whose feature is ``feature``: with a policy's mean feature, what it was trained on.

    Args:
        name: ``num_train``, ``num_params``, ``epochs`` or ``val_size``.
        feature: of ``log_<name>``.
    """
    middle, width = _STATIC_SCALES[name]
    return float(10.0 ** (feature * width + middle))


@dataclass
class Signals:
    """What is measured at a decision, arrays of n slots.

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

    progress: Array
    log_lam: Array
    train_loss: Array
    val_loss: Array
    train_accuracy: Array
    val_accuracy: Array
    weight_norm: Array
    penalty: Array
    lr_ratio: Array


class Observer:
    """Turns signals into features, and remembers the last decision's for the differences.

    Args:
        num_slots: N.
        control: gives the range of λ.
    """

    _REMEMBERED = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "log_lam", "log_weight_norm")

    def __init__(self, num_slots: int, control: ControlLaw) -> None:
        self.control = control
        self.num_slots = num_slots
        # One table of each kind and views of its rows, so that a single slot is read and written at once.
        self._memory = np.zeros((len(self._REMEMBERED), num_slots))
        self._previous = dict(zip(self._REMEMBERED, self._memory, strict=True))
        self._constants = np.ones((4, num_slots))
        self._initial_norm, self._log_classes, self._lr_sum, self._chance = self._constants
        self._chance[:] = 0.0
        self._static = np.zeros((num_slots, 4))

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
        self._log_classes[slot] = math.log(facts.num_classes)
        self._chance[slot] = 1.0 / facts.num_classes
        self._lr_sum[slot] = facts.lr_sum
        self._initial_norm[slot] = max(weight_norm, _TINY)
        self._static[slot] = [
            (math.log10(getattr(facts, name)) - middle) / width
            for name, (middle, width) in _STATIC_SCALES.items()
        ]
        one = np.ones(1)
        chance = Signals(
            progress=0.0 * one,
            log_lam=log_lam * one,
            train_loss=self._log_classes[slot] * one,
            val_loss=self._log_classes[slot] * one,
            train_accuracy=self._chance[slot] * one,
            val_accuracy=self._chance[slot] * one,
            weight_norm=weight_norm * one,
            penalty=penalty * one,
            lr_ratio=one,
        )
        slots = np.array([slot])
        for name, value in self._levels(chance, slots).items():
            self._previous[name][slots] = value
        observation: npt.NDArray[np.float32] = self.observe(chance, slots)[0]
        return observation

    def observe(
        self, signals: Signals, slots: Sequence[int] | npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Features of the slots named, and the memory for the next call.

        Args:
            signals: arrays of ``len(slots)``.
            slots: which slots they belong to.

        Returns:
            float32 ``[len(slots), NUM_FEATURES]``, finite, within ±FEATURE_BOUND.
        """
        slots = np.asarray(slots, np.int64)
        level = self._levels(signals, slots)
        before = {name: value[slots] for name, value in self._previous.items()}
        table = np.empty((len(slots), NUM_FEATURES))
        with np.errstate(all="ignore"):
            data_loss = np.maximum(signals.train_loss, _TINY)
            columns = (
                2.0 * signals.progress - 1.0,
                self.control.position(signals.log_lam),
                (signals.log_lam + np.log10(self._lr_sum[slots])) / 2.0,
                level["train_loss"] - 1.0,
                level["val_loss"] - 1.0,
                level["val_loss"] - level["train_loss"],
                level["train_accuracy"],
                level["val_accuracy"],
                level["train_accuracy"] - level["val_accuracy"],
                5.0 * (level["train_loss"] - before["train_loss"]),
                5.0 * (level["val_loss"] - before["val_loss"]),
                5.0 * (level["train_accuracy"] - before["train_accuracy"]),
                5.0 * (level["val_accuracy"] - before["val_accuracy"]),
                level["log_lam"] - before["log_lam"],
                2.0 * level["log_weight_norm"],
                5.0 * (level["log_weight_norm"] - before["log_weight_norm"]),
                np.log10(np.maximum(signals.penalty, _TINY) / data_loss) / 2.0,
                np.log10(np.maximum(signals.lr_ratio, _TINY)),
            )
            for i, column in enumerate(columns):
                table[:, i] = column
            table[:, len(columns) :] = self._static[slots]
        table[np.isnan(table)] = 0.0
        for name, value in level.items():
            self._previous[name][slots] = value
        return _clip(table, -FEATURE_BOUND, FEATURE_BOUND).astype(np.float32)

    def _levels(self, signals: Signals, slots: npt.NDArray[np.int64]) -> dict[str, Array]:
        """The quantities whose differences are features too, already scale-free and finite."""
        log_classes, chance = self._log_classes[slots], self._chance[slots]
        with np.errstate(all="ignore"):
            norm = np.log10(np.maximum(signals.weight_norm, _TINY) / self._initial_norm[slots])

        def loss(value: Array) -> Array:
            scaled = value / log_classes
            return np.where(np.isnan(scaled), _MAX_LOSS, _clip(scaled, 0.0, _MAX_LOSS))

        def accuracy(value: Array) -> Array:
            return _clip(np.where(np.isfinite(value), value, chance), 0.0, 1.0)

        return {
            "train_loss": loss(signals.train_loss),
            "val_loss": loss(signals.val_loss),
            "train_accuracy": accuracy(signals.train_accuracy),
            "val_accuracy": accuracy(signals.val_accuracy),
            "log_lam": np.asarray(signals.log_lam, np.float64),
            "log_weight_norm": np.where(
                np.isfinite(norm), norm, np.where(np.isnan(norm), 0.0, np.copysign(FEATURE_BOUND, norm))
            ),
        }

    def state_dict(self) -> dict[str, list[object]]:
        """Everything remembered, as plain lists."""
        state: dict[str, list[object]] = {name: value.tolist() for name, value in self._previous.items()}
        for name in ("_initial_norm", "_log_classes", "_chance", "_lr_sum", "_static"):
            state[name] = getattr(self, name).tolist()
        return state

    def load_state_dict(self, state: dict[str, list[object]]) -> None:
        """Takes back what :meth:`state_dict` gave; the number of slots must agree."""
        for name in self._REMEMBERED:
            self._previous[name][:] = np.asarray(state[name], np.float64)
        for name in ("_initial_norm", "_log_classes", "_chance", "_lr_sum", "_static"):
            getattr(self, name)[:] = np.asarray(state[name], np.float64)
