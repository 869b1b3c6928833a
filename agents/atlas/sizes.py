"""Does the best λ depend on the size of a network, and of its data? Exponents, in each way to write the penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lambda_rl.agents.atlas.curves import Array, CellCurve
from lambda_rl.agents.atlas.design import BASE
from lambda_rl.suggest.conventions import CONVENTIONS, convert_lam

FEWEST = 3
"""Cells that an exponent needs."""

SIZES = {"weights": ("width", "depth"), "examples": ("train_size",)}
"""What grows along which rays."""


@dataclass(frozen=True)
class Exponent:
    """How the best λ of a star's ray grows: λ ~ size^exponent.

    Attributes:
        base: the star's.
        size: ``weights`` or ``examples``.
        ray: the factor that made it grow.
        cells: how many have a best constant.
        smallest: size.
        largest: size.
        exponents: by way to write the penalty: (exponent, lower end, upper end), 95 %.
    """

    base: str
    size: str
    ray: str
    cells: int
    smallest: int
    largest: int
    exponents: dict[str, tuple[float, float, float]]


def exponents(curves: Sequence[CellCurve]) -> list[Exponent]:
    """One for each star and size; those with fewer than :data:`FEWEST` cells that have a best constant are left out.

    The interval is by bootstrap over seeds within each cell, and does not tell how well a power law fits.
    """
    found = []
    for base in dict.fromkeys(curve.cell.base for curve in curves):
        for size, rays in SIZES.items():
            for ray in rays:
                own = ray_of(curves, base, ray)
                sharp = [curve for curve in own if curve.sharp]
                if len({size_of(curve, size) for curve in sharp}) >= FEWEST:
                    found.append(_exponent(base, size, ray, sharp))
    return found


def ray_of(curves: Sequence[CellCurve], base: str, factor: str) -> list[CellCurve]:
    """Cells of a star that differ in one factor alone, its base among them."""
    return [curve for curve in curves if curve.cell.base == base and curve.cell.factor in (factor, BASE)]


def size_of(curve: CellCurve, size: str) -> int:
    """Weights or training examples."""
    return curve.row.num_params if size == "weights" else curve.row.num_train


def log_lam(curve: CellCurve, log_kappa: Array, convention: str) -> Array:
    """log₁₀ λ in a way to write it."""
    row = curve.row
    factor = convert_lam(1.0, to=convention, num_train=row.num_train, num_params=row.num_params)
    return np.asarray(log_kappa + curve.shift + np.log10(factor))


def _exponent(base: str, size: str, ray: str, curves: Sequence[CellCurve]) -> Exponent:
    sizes = [size_of(curve, size) for curve in curves]
    x = np.log10(sizes)
    x = x - x.mean()
    made = {}
    for name in CONVENTIONS:
        best = np.array([log_lam(curve, np.array(curve.log_kappa), name) for curve in curves])
        draws = np.stack([log_lam(curve, curve.draws, name) for curve in curves])
        slopes = x @ draws / (x @ x)
        low, high = np.quantile(slopes, (0.025, 0.975))
        made[name] = (float(x @ best / (x @ x)), float(low), float(high))
    return Exponent(base, size, ray, len(curves), min(sizes), max(sizes), made)
