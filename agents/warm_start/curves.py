"""What each κ costs on a task: the regret curve of constants, and its value at any κ.

Constants of the decay budget κ are trained side by side on the same task, with the same initial weights and the same
minibatches. How much worse each of them ends than the best one, as a function of log₁₀ κ, is what a policy is trained
to keep low.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[np.float64]

LOG_KAPPAS = (-2.0, -1.4, -0.9, -0.5, -0.2, 0.1, 0.35, 0.6, 0.85, 1.15, 1.55, 2.1)
"""log₁₀ of the constants: closer where most tasks have their best, wide at the ends. At κ = 0.01 the weights shrink by
one per cent over the run, so the first one is as good as no penalty."""

SMOOTHING = 0.2
"""Decades: curves are averaged over neighbours by a Gaussian of this width, for an accuracy on some hundred examples is
a noisy thing, and no constant is 2 points better than both of its neighbours."""


def kernel(width: float = SMOOTHING) -> Array:
    """Weights ``[G, G]`` that smooth a curve over :data:`LOG_KAPPAS`; each row sums to 1."""
    grid = np.array(LOG_KAPPAS)
    weights = np.exp(-0.5 * ((grid[:, None] - grid[None, :]) / width) ** 2)
    return weights / weights.sum(1, keepdims=True)


def regret_curve(accuracy: npt.ArrayLike) -> Array:
    """Points that each constant loses to the best one.

    Args:
        accuracy: final accuracies ``[…, G]`` under :data:`LOG_KAPPAS`, fractions.

    Returns:
        ``[…, G]``, 0 at the best, smoothed.
    """
    smooth = 100.0 * np.asarray(accuracy, np.float64) @ kernel().T
    return np.asarray(smooth.max(-1, keepdims=True) - smooth)


def best_log_kappa(regret: npt.ArrayLike, tolerance: float = 0.25) -> Array:
    """log₁₀ κ in the middle of the constants whose regret is within ``tolerance`` points of the best one.

    Args:
        regret: ``[…, G]``.
        tolerance: points; what differs by less is not told apart.
    """
    good = np.asarray(regret) <= tolerance
    grid = np.array(LOG_KAPPAS)
    return np.asarray((good * grid).sum(-1) / good.sum(-1))


def regret_at(curves: Tensor, log_kappa: Tensor) -> Tensor:
    """Regret at any κ, linear between the constants and level beyond them; differentiable in κ.

    Args:
        curves: ``[n, G]``.
        log_kappa: log₁₀ κ ``[n]``.

    Returns:
        ``[n]``.
    """
    grid = torch.tensor(LOG_KAPPAS, dtype=log_kappa.dtype)
    inside = log_kappa.clamp(LOG_KAPPAS[0], LOG_KAPPAS[-1])
    right = torch.searchsorted(grid, inside.detach()).clamp(1, len(LOG_KAPPAS) - 1)
    share = (inside - grid[right - 1]) / (grid[right] - grid[right - 1])
    low, high = (curves.gather(1, place[:, None])[:, 0] for place in (right - 1, right))
    return low + share * (high - low)
