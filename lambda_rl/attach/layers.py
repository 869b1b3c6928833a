"""Parameter groups for an optimizer: what decays and what does not; one for each layer, with factors of λ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lambda_rl.arguments import real_number
from lambda_rl.penalties import penalised_weights

INVERSE_FROBENIUS = "inverse-frobenius"
"""Weights of layers that are inverse to the Frobenius norm of what they weigh, see :func:`inverse_frobenius`."""

LayerWeights = Sequence[float] | Literal["inverse-frobenius"]


def split_parameters(
    model: nn.Module,
    weight_decay: float,
    *,
    per_layer: bool = False,
    layer_weights: LayerWeights | None = None,
) -> list[dict[str, Any]]:
    """Two parameter groups for an optimizer: weights with decay; biases and norms without.

    Args:
        model: the network. Frozen parameters are included (an optimizer skips what has no gradient), so that
            unfreezing works later.
        weight_decay: the first group's start decay; must not be 0 if a schedule is to find the group.
        per_layer: a group for each parameter with decay in place of one for all; ``group["layer"]`` counts them from 1,
            and a schedule that moves the knobs ``layer.1``, ``layer.2``, … turns them there.
        layer_weights: what λ is multiplied by in each of them: one number above 0 each, or "inverse-frobenius", see
            :func:`inverse_frobenius`; None: 1. A schedule keeps the ratios.

    Returns:
        The group of weights, or one for each of them, then the group of the rest with ``weight_decay`` 0; the last
        group is there even when it is empty, so that the layout does not depend on the network.

    Raises:
        ValueError: the decay is negative or not finite; weights of layers without ``per_layer``, another number of them
            than there are layers with weights, or one that is not above 0.
    """
    real_number("weight_decay", weight_decay)
    with_decay = penalised_weights(model)
    rest = {
        "params": [p for name, p in model.named_parameters() if name not in with_decay],
        "weight_decay": 0.0,
    }
    if not per_layer:
        if layer_weights is not None:
            raise ValueError("layer_weights need per_layer=True: there is one group for all layers")
        return [{"params": list(with_decay.values()), "weight_decay": weight_decay}, rest]
    if not with_decay:
        raise ValueError(
            "per_layer=True: the model has no layer with weights (no parameter of two or more dimensions)"
        )
    factors = _layer_factors(with_decay, layer_weights)
    layers: list[dict[str, Any]] = [
        {"params": [p], "weight_decay": weight_decay * factor, "wd_mult": factor, "layer": number}
        for number, (p, factor) in enumerate(zip(with_decay.values(), factors, strict=True), 1)
    ]
    return [*layers, rest]


def inverse_frobenius(weights: Iterable[Tensor]) -> list[float]:
    """A factor of λ for each layer, inverse to its weights' Frobenius norm.

    Scaled such that Σ factor · ½‖w‖² is Σ ½‖w‖², so that λ has the size that it has without them. Without it, wide
    layers rule the penalty; with it, each counts as its norm, not as the square of it.

    Args:
        weights: of each layer, as they are now.

    Raises:
        ValueError: the weights of a layer are all 0.
    """
    norms = [float(torch.linalg.vector_norm(w.detach().double())) for w in weights]
    for number, norm in enumerate(norms, 1):
        if not norm > 0:
            raise ValueError(f"inverse-frobenius: the weights of layer {number} are all 0, or not finite")
    scale = sum(norm * norm for norm in norms) / sum(norms)
    return [scale / norm for norm in norms]


def _layer_factors(layers: Mapping[str, Tensor], given: LayerWeights | None) -> list[float]:
    """A factor of λ for each layer.

    Args:
        layers: their weights, by name.
        given: the factors, or the rule that makes them; None: 1.

    Raises:
        ValueError: another rule, another number of factors, or one that is not above 0.
    """
    if given is None:
        return [1.0] * len(layers)
    if isinstance(given, str):
        if given != INVERSE_FROBENIUS:
            raise ValueError(
                f"layer_weights must be one number a layer or {INVERSE_FROBENIUS!r}, got {given!r}"
            )
        return inverse_frobenius(layers.values())
    if len(given) != len(layers):
        raise ValueError(
            f"layer_weights: {len(given)} numbers for {len(layers)} layers with weights: {', '.join(layers)}"
        )
    return [real_number("each of layer_weights", value, more=True) for value in given]
