"""Families of the features that a policy for any loop observes."""

from __future__ import annotations

from lambda_rl.observation import KAPPA_FEATURES

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
    ),
    "kappa": ("delta_log_lam", "log_kappa", "mean_kappa", "decay_spent", "kappa_at_best"),
    "time": ("progress", "log_learning_rate"),
}  # fmt: skip
"""Features by what they tell of: together they are all of :data:`lambda_rl.observation.KAPPA_FEATURES`."""

VALIDATION = "validation"
"""Name of what sees no validation signal at all."""


def without(family: str) -> tuple[str, ...]:
    """All features but those of a family; of :data:`VALIDATION`, all but those that a validation signal is in.

    Raises:
        ValueError: there is no such family.
    """
    if family == VALIDATION:
        gone = {
            name
            for name in KAPPA_FEATURES
            if ("val" in name and name != "log_val_size")
            or "gap" in name
            or name in ("since_best", "kappa_at_best")
        }
    elif family in FAMILIES:
        gone = set(FAMILIES[family])
    else:
        raise ValueError(
            f"unknown family of features {family!r}; allowed: {', '.join([*FAMILIES, VALIDATION])}"
        )
    return tuple(name for name in KAPPA_FEATURES if name not in gone)
