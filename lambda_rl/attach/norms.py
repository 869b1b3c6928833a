"""The norm of many weights, to all digits and with one wait for their device."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor


def norm_and_half_square(weights: Iterable[tuple[Tensor, float]]) -> tuple[float, float]:
    """The Euclidean norm of all weights together, and the sum of ½ · factor · ‖w‖².

    Args:
        weights: (tensor of any shape and device, without a graph; its factor in the second sum).
    """
    total = weighted = 0.0
    elsewhere: list[tuple[Tensor, float]] = []
    for weight, factor in weights:
        if weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64):
            flat = weight.reshape(-1)  # dot sums 20 times as exactly as a norm does here
            square = torch.dot(flat, flat).item()
            total += square
            weighted += factor * square
        else:
            elsewhere.append((weight, factor))
    if elsewhere:
        # In half precision a norm would have 3 digits.
        single = [torch.float32 if w.dtype.itemsize < 4 else None for w, _ in elsewhere]
        norms = [
            torch.linalg.vector_norm(w, dtype=dtype) for (w, _), dtype in zip(elsewhere, single, strict=True)
        ]
        home = norms[0].device
        # Gathered first, so that the device is waited for once.
        values = torch.stack([n.to(home, torch.float32) for n in norms]).tolist()
        for value, (_, factor) in zip(values, elsewhere, strict=True):
            total += value * value
            weighted += factor * value * value
    return math.sqrt(total), 0.5 * weighted
