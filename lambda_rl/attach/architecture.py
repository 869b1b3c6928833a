"""What a model and its optimizer are, as far as a schedule is told: norms, adaptive or not, decay, learning rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.parameter import is_lazy
from torch.optim import SGD, AdamW, Optimizer

# Optimizers without betas in their groups that divide by the size of the gradients, or take their sign.
_ADAPTIVE = ("adam", "rmsprop", "adagrad", "adadelta", "adafactor", "lion", "lamb", "rprop", "muon", "sophia")

# Optimizers of torch, timm and other libraries that shrink weights by lr·λ without saying so in their groups; and all
# that have AdamW in their names, such as NAdamW and AdamW8bit.
_DECOUPLED = frozenset(
    "Adafactor AdafactorBigVision Muon Lion LAMB AdamP Adan LaProp MARS SGDW".lower().split()
)
_SGD, _ADAMW = SGD.__name__.lower(), AdamW.__name__.lower()
# What those call it that do say it.
_DECOUPLED_KEYS = ("decoupled_decay", "decoupled", "weight_decouple")


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
        if not is_lazy(parameter) and parameter.dim() == 1 and parameter.numel() > 1
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
    return False if _SGD in name or {"momentum", "nesterov"} <= group.keys() else None


def group_meaning(optimizer: Optimizer, group: dict[str, Any]) -> str:
    """What ``weight_decay`` of a group does.

    Args:
        optimizer: its owner.
        group: one of its ``param_groups``.

    Returns:
        "decoupled" (weights shrink by lr·λ: AdamW and its like, or ``decoupled_weight_decay=True`` in the
        group), else "coupled" (λ·w is added to the gradient: SGD, Adam).
    """
    named = group.get("decoupled_weight_decay")
    if named is None:
        name = type(optimizer).__name__.lower()
        named = name in _DECOUPLED or _ADAMW in name or any(group.get(key) is True for key in _DECOUPLED_KEYS)
    return "decoupled" if named else "coupled"


def peak_lr(group: dict[str, Any]) -> float:
    """The largest learning rate that a group is known to have; make the learning rate scheduler first."""
    # "initial_lr" is that of a warm-up by LinearLR or LambdaLR, "max_lr" that of OneCycleLR.
    return max((float(group[name]) for name in ("lr", "initial_lr", "max_lr") if name in group), default=1.0)


def effective_lr(optimizer: Optimizer, group: dict[str, Any], peak: float) -> float:
    """What λ is multiplied by in a step at the peak learning rate: that rate, for SGD over 1 - momentum.

    Args:
        optimizer: its owner.
        group: one of its ``param_groups``.
        peak: its learning rate.
    """
    # OneCycleLR has momentum at its base where the rate is at its peak.
    momentum = float(group.get("momentum", 0.0))
    momentum = min(momentum, float(group.get("base_momentum", momentum)))
    momentum = 0.0 if group_meaning(optimizer, group) == "decoupled" else momentum
    return peak / max(1.0 - momentum, 1e-3)
