"""What a model and its optimizer are, as far as a schedule is told: norm layers or none, adaptive or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

# Optimizers without betas in their groups that divide by the size of the gradients, or take their sign.
_ADAPTIVE = ("adam", "rmsprop", "adagrad", "adadelta", "adafactor", "lion", "lamb", "rprop", "muon", "sophia")


def normalises(model: nn.Module) -> bool:
    """Whether there are layers that normalise: batch, layer, group, instance or RMS norm, or one so named."""
    return any("norm" in type(module).__name__.lower() for module in model.modules())


def seems_normalised(optimizers: Sequence[Optimizer]) -> bool | None:
    """Whether the parameters of optimizers are those of a network with layers that normalise, as far as they tell.

    Before the first step the scales of a norm are all 1, and no bias is.

    Returns:
        None where there is no vector among them, so that neither norms nor biases are seen.
    """
    vectors = [
        parameter.detach()
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
        if parameter.dim() == 1 and parameter.numel() > 1
    ]
    return any(bool((vector == 1).all()) for vector in vectors) if vectors else None


def is_adaptive(optimizer: Optimizer, group: dict[str, Any]) -> bool | None:
    """Whether the steps of a group do not depend on the size of the gradients, as Adam's do not.

    Args:
        optimizer: its owner.
        group: one of its ``param_groups``.

    Returns:
        False for SGD and its like; None where neither name nor options tell.
    """
    name = type(optimizer).__name__.lower()
    if "betas" in group or any(word in name for word in _ADAPTIVE):
        return True
    return False if "sgd" in name or {"momentum", "nesterov"} <= group.keys() else None
