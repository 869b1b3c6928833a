"""Signals that cost something to measure, and how a plain loop measures them; only rules that ask have them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from lambda_rl.attach.norms import norm_and_half_square

MEASURED: dict[str, str] = {
    "grad_norm": "Euclidean norm of the data loss's gradient with respect to the weights with decay, on a minibatch",
    "second_moment": "mean over all parameters of Adam's second moment, corrected for its bias",
    "val_pull": "⟨gradient of the validation loss, w⟩ over the weights with decay",
    "train_pull": "⟨gradient of the loss on training examples, w⟩ over the weights with decay",
}
"""What may be asked for, by name."""


def gradient_norm(weights: Iterable[Tensor]) -> float:
    """Norm of the gradients that weights have now, all together; NaN where none has any."""
    gradients = [weight.grad.detach() for weight in weights if weight.grad is not None]
    return norm_and_half_square((gradient, 1.0) for gradient in gradients)[0] if gradients else math.nan


def pull(weights: Iterable[Tensor]) -> float:
    """⟨gradient, w⟩ of the gradients that weights have now: what λ's gradient is made of, after ``loss.backward()``.

    Returns:
        NaN where no weight has a gradient.
    """
    pairs = [(weight.detach(), weight.grad.detach()) for weight in weights if weight.grad is not None]
    if not pairs:
        return math.nan
    return float(sum((weight * gradient).sum(dtype=torch.float64) for weight, gradient in pairs))


def second_moment(optimizers: Optimizer | Sequence[Optimizer], *, upcoming: bool = False) -> float:
    """Mean over all parameters of Adam's second moment, corrected for its bias, as SWD has it.

    Args:
        optimizers: of ``torch.optim``'s kind: ``exp_avg_sq`` and ``step`` in their states, ``betas`` in their groups.
        upcoming: what it will be when the step is taken whose gradients are there now; that is what SWD divides by in
            this step.

    Returns:
        NaN where no optimizer keeps one.
    """
    total, count = 0.0, 0
    for optimizer in [optimizers] if isinstance(optimizers, Optimizer) else optimizers:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if "betas" not in group or (upcoming and parameter.grad is None):
                    continue
                state, decay = optimizer.state.get(parameter, {}), float(group["betas"][1])
                steps = float(state.get("step", 0.0))
                squares = (
                    float(state["exp_avg_sq"].sum(dtype=torch.float64)) if "exp_avg_sq" in state else 0.0
                )
                if upcoming:
                    fresh = float(parameter.grad.square().sum(dtype=torch.float64))
                    squares, steps = decay * squares + (1.0 - decay) * fresh, steps + 1.0
                if steps:
                    total += squares / (1.0 - decay**steps)
                    count += parameter.numel()
    return total / count if count else math.nan
