"""The signals of a run: what is measured at a decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic

from lambda_rl.ops import V


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
        knobs: levels of further knobs that were in force, by name: log₁₀ of the value, of a linear kind the value.
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
    knobs: Mapping[str, V] = field(default_factory=dict)
