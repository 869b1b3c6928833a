"""The features that a policy may observe: causal, scale-free, one entry each.

A feature is computed from what was measured at a decision, from what is remembered of the last one, and from what is
known of the run before it starts. Losses are divided by log C (C classes), so that 1 is what guessing gets on any data
set; weights, learning rate and penalty enter as ratios to their start or to the data loss.

Each formula is written once and serves arrays of many inner runs as well as the plain numbers of one
(:mod:`lambda_rl.ops`). A policy file names the features that it reads: a new feature is one registration, and changes
nothing for the policies that there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lambda_rl.control import ControlLaw
from lambda_rl.knobs import Knob, knob_scale
from lambda_rl.observation.facts import STATIC_SCALES
from lambda_rl.observation.signals import Signals
from lambda_rl.observation.view import Values, View
from lambda_rl.ops import Ops, Value
from lambda_rl.registry import Registry

FEATURES_VERSION = 1
"""Version of the meaning of a feature whose own is not said. Raised for one whenever its meaning changes, so that an
old policy is refused, not misread."""

FEATURE_BOUND = 5.0
"""Every feature is brought into [-FEATURE_BOUND, FEATURE_BOUND] and is finite, whatever the run does."""

_MAX_LOSS = 4.0  # in units of log C; beyond it a run is lost, and how far no longer matters
TINY = 1e-12


@dataclass(frozen=True)
class Feature:
    """One entry of the observation.

    Attributes:
        meaning: in a few words, for tables.
        compute: from a :class:`View`; not yet bounded, may be NaN (which counts as 0).
        low: smallest value in a sound run.
        high: largest.
        version: of its meaning.
        remembers: it reads :data:`~lambda_rl.observation.memories.MEMORIES`, which are kept only where such a feature
            is observed.
    """

    meaning: str
    compute: Callable[[View], Value]
    low: float = -FEATURE_BOUND
    high: float = FEATURE_BOUND
    version: int = FEATURES_VERSION
    remembers: bool = False


Level = Callable[[Signals[Any], Values, Ops], Value]
"""A quantity that is remembered from one decision to the next: from signals, what is known of the run, operations."""

LEVELS: Registry[Level] = Registry("level")
"""What is remembered of a decision."""

FEATURES: Registry[Feature] = Registry("feature")
"""Features that are observed where none are named, in the order of the observation."""

FURTHER_FEATURES: Registry[Feature] = Registry("feature")
"""Features that are observed only where they are named, or where κ is the unit."""


def _loss(signal: str) -> Level:
    def level(signals: Signals[Any], run: Values, ops: Ops) -> Value:
        return ops.clip(ops.if_nan(getattr(signals, signal) / run["log_classes"], _MAX_LOSS), 0.0, _MAX_LOSS)

    return level


def _accuracy(signal: str) -> Level:
    def level(signals: Signals[Any], run: Values, ops: Ops) -> Value:
        return ops.clip(ops.if_not_finite(getattr(signals, signal), run["chance"]), 0.0, 1.0)

    return level


def _log_norm(signals: Signals[Any], run: Values, ops: Ops) -> Value:
    # A weight norm that is no number counts as unchanged, an infinite one as the bound.
    norm = ops.if_nan(ops.log10(ops.at_least(signals.weight_norm, TINY) / run["initial_norm"]), 0.0)
    return ops.if_not_finite(norm, FEATURE_BOUND)


LEVELS.register("train_loss", _loss("train_loss"))
LEVELS.register("val_loss", _loss("val_loss"))
LEVELS.register("train_accuracy", _accuracy("train_accuracy"))
LEVELS.register("val_accuracy", _accuracy("val_accuracy"))
LEVELS.register("log_lam", lambda signals, run, ops: signals.log_lam)
LEVELS.register("log_weight_norm", _log_norm)


def _change(level: str, scale: float) -> Callable[[View], Value]:
    return lambda view: scale * (view.now[level] - view.before[level])


def _static(fact: str) -> Callable[[View], Value]:
    middle, width = STATIC_SCALES[fact]
    return lambda view: (view.run[f"log_{fact}"] - middle) / width


def _log_penalty(view: View) -> Value:
    ops, signals = view.ops, view.signals
    return ops.log10(ops.at_least(signals.penalty, TINY) / ops.at_least(signals.train_loss, TINY)) / 2.0


_BUILT_IN: dict[str, Feature] = {
    "progress": Feature(
        "share of the steps done, from -1 to 1", lambda v: 2.0 * v.signals.progress - 1.0, -1, 1
    ),
    "log_lam": Feature(
        "where log₁₀ λ lies in its range", lambda v: v.control.position(v.signals.log_lam), -1, 1
    ),
    "log_shrink": Feature(
        "½ log₁₀ of λ · Σ learning rate, the decay budget",
        lambda v: (v.signals.log_lam + v.run["log_lr_sum"]) / 2.0,
    ),
    "train_loss": Feature("train loss / log C, minus 1", lambda v: v.now["train_loss"] - 1.0, -1, 3),
    "val_loss": Feature("validation loss / log C, minus 1", lambda v: v.now["val_loss"] - 1.0, -1, 3),
    "loss_gap": Feature(
        "validation minus train loss, / log C", lambda v: v.now["val_loss"] - v.now["train_loss"], -4, 4
    ),
    "train_accuracy": Feature("train accuracy", lambda v: v.now["train_accuracy"], 0, 1),
    "val_accuracy": Feature("validation accuracy", lambda v: v.now["val_accuracy"], 0, 1),
    "accuracy_gap": Feature(
        "train minus validation accuracy", lambda v: v.now["train_accuracy"] - v.now["val_accuracy"], -1, 1
    ),
    "delta_train_loss": Feature("change of train loss / log C, times 5", _change("train_loss", 5.0)),
    "delta_val_loss": Feature("change of validation loss / log C, times 5", _change("val_loss", 5.0)),
    "delta_train_accuracy": Feature("change of train accuracy, times 5", _change("train_accuracy", 5.0)),
    "delta_val_accuracy": Feature("change of validation accuracy, times 5", _change("val_accuracy", 5.0)),
    "delta_log_lam": Feature("change of log₁₀ λ", lambda v: v.now["log_lam"] - v.before["log_lam"]),
    "log_weight_norm": Feature(
        "2 log₁₀ of weight norm / its start", lambda v: 2.0 * v.now["log_weight_norm"]
    ),
    "delta_log_weight_norm": Feature("change of log₁₀ weight norm, times 5", _change("log_weight_norm", 5.0)),
    "log_penalty": Feature("½ log₁₀ of penalty term / train loss", _log_penalty),
    "log_learning_rate": Feature(
        "log₁₀ of learning rate / its start", lambda v: v.ops.log10(v.ops.at_least(v.signals.lr_ratio, TINY))
    ),
    "log_num_train": Feature("log₁₀ training examples, scaled", _static("num_train")),
    "log_num_params": Feature("log₁₀ penalised parameters, scaled", _static("num_params")),
    "log_epochs": Feature("log₁₀ epochs in the run, scaled", _static("epochs")),
    "log_val_size": Feature("log₁₀ validation examples, scaled", _static("val_size")),
}
for _name, _feature in _BUILT_IN.items():
    FEATURES.register(_name, _feature)


def knob_features(knob: Knob) -> dict[str, Feature]:
    """The two entries that each knob beyond λ adds: where it lies in its range, and its last change.

    Their names are ``<knob>:position`` and ``<knob>:change``.
    """
    law, name = ControlLaw.from_knob(knob), knob.name
    level = name if knob_scale(name).scale == "linear" else f"log₁₀ {name}"
    return {
        f"{name}:position": Feature(
            f"where {level} lies in its range", lambda v: law.position(v.signals.knobs[name]), -1, 1
        ),
        f"{name}:change": Feature(
            f"change of {level}", lambda v: v.signals.knobs[name] - v.before[f"{name}:log"]
        ),
    }


def all_features(knobs: Sequence[Knob] = ()) -> dict[str, Feature]:
    """All registered features, then those of the knobs beyond λ, by name."""
    found = {**dict(FEATURES.items()), **dict(FURTHER_FEATURES.items())}
    for knob in knobs:
        found |= knob_features(knob)
    return found


def bounded(value: Value, ops: Ops) -> Value:
    """A feature's value as it is observed: finite, within ±:data:`FEATURE_BOUND`."""
    return ops.clip(ops.if_nan(value, 0.0), -FEATURE_BOUND, FEATURE_BOUND)


def feature_table(features: Sequence[str] | None = None) -> str:
    """An observation as a Markdown table: number, name, meaning, smallest and largest value in a sound run.

    Args:
        features: names of those in it; None: those that are observed where none are named.
    """
    known = all_features()
    lines = ["| no. | name | meaning | min | max |", "| --- | --- | --- | --- | --- |"]
    for number, name in enumerate(FEATURES.names() if features is None else features):
        feature = known[name]
        lines.append(f"| {number} | `{name}` | {feature.meaning} | {feature.low:g} | {feature.high:g} |")
    return "\n".join(lines)
