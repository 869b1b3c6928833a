"""Families of the features that policies observe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lambda_rl.observation import FEATURES, KAPPA_FEATURES

FAMILIES: dict[str, tuple[str, ...]] = {
    "facts": ("log_num_train", "log_num_params", "log_epochs", "log_val_size", "adaptive", "normalised"),
    "levels": (
        "train_loss", "val_loss", "train_accuracy", "val_accuracy", "train_left", "val_loss_per_error",
        "train_loss_per_error",
    ),
    "gaps": (
        "loss_gap", "accuracy_gap", "log_gap_ratio", "train_above_best_val", "gap_fast_trend", "gap_slow_trend",
    ),
    "trends": (
        "delta_train_loss", "delta_val_loss", "delta_train_accuracy", "delta_val_accuracy", "train_pace",
        "train_loss_fast_trend", "val_loss_fast_trend", "train_accuracy_fast_trend", "val_accuracy_fast_trend",
        "train_loss_slow_trend", "val_loss_slow_trend", "train_accuracy_slow_trend", "val_accuracy_slow_trend",
    ),
    "ranks": (
        "val_loss_above_best", "train_loss_above_best", "val_accuracy_below_best", "train_accuracy_below_best",
        "val_loss_rank", "train_loss_rank", "since_best",
    ),
    "weights": (
        "log_weight_norm", "delta_log_weight_norm", "weight_growth", "decay_share", "weight_norm_below_peak",
        "log_penalty",
    ),
    "lambda": ("log_lam", "log_shrink", "delta_log_lam", "log_kappa", "mean_kappa", "decay_spent", "kappa_at_best"),
    "time": ("progress", "log_learning_rate"),
}  # fmt: skip
"""Features by what they tell of: together they are all of :data:`lambda_rl.observation.KAPPA_FEATURES` and
:data:`lambda_rl.FEATURES`."""

VALIDATION = "validation"
"""Name of what sees no validation signal at all."""


def without(family: str, features: Sequence[str] = KAPPA_FEATURES) -> tuple[str, ...]:
    """Features but those of a family; of :data:`VALIDATION`, but those that a validation signal is in.

    Args:
        family: its name.
        features: of which they are left out.

    Raises:
        ValueError: there is no such family.
    """
    gone = set(members(family))
    return tuple(name for name in features if name not in gone)


def members(family: str) -> tuple[str, ...]:
    """The features of a family.

    Raises:
        ValueError: there is no such family.
    """
    if family == VALIDATION:
        return tuple(filter(_knows_validation, dict.fromkeys((*KAPPA_FEATURES, *FEATURES.names()))))
    if family not in FAMILIES:
        raise ValueError(
            f"unknown family of features {family!r}; allowed: {', '.join([*FAMILIES, VALIDATION])}"
        )
    return FAMILIES[family]


def families_in(features: Iterable[str]) -> list[str]:
    """The families that any of these features is of."""
    read = set(features)
    return [name for name in (*FAMILIES, VALIDATION) if read & set(members(name))]


def _knows_validation(feature: str) -> bool:
    of_signals = "val" in feature and feature != "log_val_size"
    return of_signals or "gap" in feature or feature in ("since_best", "kappa_at_best")
