"""Features for policies that set κ: free of units, with memory of the run so far.

None of those in :data:`KAPPA_FEATURES` changes when the weights are divided by c and the run is kept the same by a
learning rate over c² and a λ times c² (SGD), or a learning rate over c and a λ times c (AdamW, its ε times c): no λ
itself, and no λ · R(w).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lambda_rl.knobs import KAPPA, LAM, Knob
from lambda_rl.observation.features import (
    FEATURES,
    FURTHER_FEATURES,
    TINY,
    Feature,
    knob_features,
)
from lambda_rl.observation.memories import HALF_LIVES, log_growth, shrunk, trended
from lambda_rl.observation.view import View
from lambda_rl.ops import Value

_SMALL_LOSS = 1e-2  # in units of log C; losses below it are alike in ratios
_SMALL_SHARE = 1e-2
_LEAST_SPENT = 1e-3  # e-foldings


def _log(view: View, value: Value, least: float) -> Value:
    return view.ops.log10(view.ops.at_least(value, least))


def _rank(loss: str) -> Callable[[View], Value]:
    def compute(view: View) -> Value:
        least, most = view.now[f"least_{loss}"], view.now[f"most_{loss}"]
        return (view.now[loss] - least) / view.ops.at_least(most - least, TINY)

    return compute


def _since_trend(pace: str, name: str) -> Callable[[View], Value]:
    return lambda view: 5.0 * (trended(view, name) - view.now[f"{pace}_{name}"])


def _mean_kappa(view: View) -> Value:
    elapsed = view.now["elapsed"]
    mean = view.now["kappa_spent"] / view.ops.at_least(elapsed, TINY)
    return view.ops.where(elapsed > 0, _log(view, mean, TINY), view.now["log_kappa"]) / 2.0


def _decay_share(view: View) -> Value:
    """How much of all that moved the norm was decay: ½ in balance, 1 where decay alone is left, 0 without decay."""
    decay = shrunk(view)
    rest = log_growth(view) + decay
    return decay / view.ops.at_least(decay + view.ops.at_least(rest, -rest), TINY)


def _per_error(part: str) -> Callable[[View], Value]:
    def compute(view: View) -> Value:
        error: Value = 1.0 - view.now[f"{part}_accuracy"]
        loss: Value = view.now[f"{part}_loss"]
        return _log(view, (loss + _SMALL_LOSS) / (error + _SMALL_SHARE), TINY)

    return compute


def _pace(view: View) -> Value:
    """Fall of log₁₀ train loss per progress."""
    before, now = (_log(view, losses["train_loss"], _SMALL_LOSS) for losses in (view.before, view.now))
    return (before - now) / view.ops.at_least(view.now["interval"], 1e-3) / 5.0


_FURTHER: dict[str, Feature] = {
    # decay
    "log_kappa": Feature("½ log₁₀ of κ in force", lambda v: v.now["log_kappa"] / 2.0, -1, 1.5, remembers=True),
    "mean_kappa": Feature("½ log₁₀ of the mean κ so far", _mean_kappa, -1, 1.5, remembers=True),
    "decay_spent": Feature(
        "½ log₁₀ of the e-foldings that decay has shrunk the weights by so far",
        lambda v: _log(v, v.now["decay_spent"], _LEAST_SPENT) / 2.0, -1.5, 1.5, remembers=True,
    ),
    "kappa_at_best": Feature(
        "log₁₀ of κ when the validation loss was best, over κ now",
        lambda v: v.now["log_kappa_at_best"] - v.now["log_kappa"], -4, 4, remembers=True,
    ),
    "weight_growth": Feature(
        "change of ln weight norm that decay does not explain, times 2",
        lambda v: 2.0 * (log_growth(v) + shrunk(v)), remembers=True,
    ),
    "decay_share": Feature("share of decay in what moved the weight norm", _decay_share, 0, 1, remembers=True),
    "weight_norm_below_peak": Feature(
        "2 log₁₀ of weight norm / its largest so far",
        lambda v: 2.0 * (v.now["log_weight_norm"] - v.now["most_log_weight_norm"]), -5, 0, remembers=True,
    ),
    # where the run is, measured by itself
    "val_loss_above_best": Feature(
        "validation loss over its best so far, / log C",
        lambda v: v.now["val_loss"] - v.now["least_val_loss"], 0, 3, remembers=True,
    ),
    "train_loss_above_best": Feature(
        "train loss over its best so far, / log C",
        lambda v: v.now["train_loss"] - v.now["least_train_loss"], 0, 3, remembers=True,
    ),
    "val_accuracy_below_best": Feature(
        "validation accuracy below its best so far",
        lambda v: v.now["most_val_accuracy"] - v.now["val_accuracy"], 0, 1, remembers=True,
    ),
    "train_accuracy_below_best": Feature(
        "train accuracy below its best so far",
        lambda v: v.now["most_train_accuracy"] - v.now["train_accuracy"], 0, 1, remembers=True,
    ),
    "val_loss_rank": Feature(
        "validation loss between its best (0) and worst (1) so far", _rank("val_loss"), 0, 1, remembers=True
    ),
    "train_loss_rank": Feature(
        "train loss between its best (0) and worst (1) so far", _rank("train_loss"), 0, 1, remembers=True
    ),
    "since_best": Feature(
        "progress since the best validation loss",
        lambda v: v.now["elapsed"] - v.now["elapsed_at_best"], 0, 1, remembers=True,
    ),
    # overfitting, and what is learned by heart
    "log_gap_ratio": Feature(
        "log₁₀ of validation loss / train loss",
        lambda v: _log(v, (v.now["val_loss"] + _SMALL_LOSS) / (v.now["train_loss"] + _SMALL_LOSS), TINY), -1, 2.6,
    ),
    "train_above_best_val": Feature(
        "train accuracy above the best validation accuracy so far",
        lambda v: v.now["train_accuracy"] - v.now["most_val_accuracy"], -1, 1, remembers=True,
    ),
    "val_loss_per_error": Feature(
        "log₁₀ of validation loss (/ log C) / share of wrong guesses", _per_error("val"), -2, 2.5
    ),
    "train_loss_per_error": Feature(
        "log₁₀ of train loss (/ log C) / share of wrong guesses", _per_error("train"), -2, 2.5
    ),
    "train_left": Feature(
        "log₁₀ of train loss / log C", lambda v: _log(v, v.now["train_loss"], 1e-4), -4, 0.6
    ),
    "train_pace": Feature("fall of log₁₀ train loss per progress, / 5", _pace, remembers=True),
    # the run
    "adaptive": Feature("1: Adam and its like; -1: SGD; 0: unknown", lambda v: v.run["adaptive"], -1, 1),
    "normalised": Feature(
        "1: with layers that normalise; -1: without; 0: unknown", lambda v: v.run["normalised"], -1, 1
    ),
}  # fmt: skip
for _name, _feature in _FURTHER.items():
    FURTHER_FEATURES.register(_name, _feature)

_TRENDED = {
    "train_loss": "train loss / log C",
    "val_loss": "validation loss / log C",
    "train_accuracy": "train accuracy",
    "val_accuracy": "validation accuracy",
    "gap": "gap of the losses / log C",
}
for _speed, _half_life in HALF_LIVES.items():
    for _of, _words in _TRENDED.items():
        FURTHER_FEATURES.register(
            f"{_of}_{_speed}_trend",
            Feature(
                f"{_words} above its mean with a half-life of {_half_life:g} decisions, times 5",
                _since_trend(_speed, _of),
                remembers=True,
            ),
        )

# λ itself, λ · R(w), and what log_kappa says already
_NOT_OBSERVED = ("log_lam", "log_penalty", "log_shrink")

KAPPA_FEATURES: tuple[str, ...] = (
    *(name for name in FEATURES if name not in _NOT_OBSERVED),
    *FURTHER_FEATURES,
)
"""What policies observe that set κ, where no features are named."""


def default_features(unit: str = LAM, knobs: Sequence[Knob] = ()) -> tuple[str, ...]:
    """Names of the features that are observed where none are named.

    Args:
        unit: of the first knob, :data:`~lambda_rl.knobs.LAM` or :data:`~lambda_rl.knobs.KAPPA`.
        knobs: beyond the first.
    """
    first = KAPPA_FEATURES if unit == KAPPA else FEATURES.names()
    return (*first, *(name for knob in knobs for name in knob_features(knob)))
