"""Fits what :func:`lambda_rl.suggest_weight_decay` knows: the κ that costs least on average, and a law of the facts.

Each task gives a curve, accuracy over log₁₀ κ. What is minimised is the mean regret of the κ that is suggested, on the
interpolated curves, and not the distance to the best κ: a κ too large costs far more than one too small. Intervals and
covariance are by bootstrap over tasks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from lambda_rl.files import atomic_write
from lambda_rl.suggest.kappa_law import FORMAT, TERMS, KappaLaw, Known

Array = npt.NDArray[np.float64]

FINE = 0.05
"""Decades between the values of κ among which the best single one is looked for."""

STARTS = 0.5
"""First step of the search for a coefficient, decades."""


@dataclass(frozen=True)
class CurveRow:
    """A task's curve.

    Attributes:
        log_kappa: log₁₀ of the constants, rising; the same for all rows.
        accuracy: of each, at the end of the run, fractions.
        known: what is known of the task before it runs.
    """

    log_kappa: tuple[float, ...]
    accuracy: tuple[float, ...]
    known: Known = field(default_factory=Known)


def fit(
    rows: Sequence[CurveRow],
    terms: Sequence[str] = (),
    *,
    resamples: int = 200,
    seed: int = 0,
    source: str = "",
    command: str = "",
) -> dict[str, Any]:
    """The table of κ, as its JSON says it.

    Args:
        rows: one for each task, or for each task and seed.
        terms: of the law, some of ``lambda_rl.suggest.kappa_law.TERMS``; none: no law.
        resamples: of the bootstrap, 2 or more.
        seed: of the bootstrap.
        source: what the tasks are, for the reader.
        command: that made the rows.

    Raises:
        ValueError: no rows, curves of other constants or none, an unknown term, or a row that does not know one.
    """
    grid, regret = _curves(rows)
    inputs = _inputs(rows, terms)
    if resamples < 2:
        raise ValueError(f"resamples must be 2 or more, got {resamples}")
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(len(rows), size=len(rows)) for _ in range(resamples)]
    fine = np.arange(grid[0], grid[-1] + 0.5 * FINE, FINE)
    costs = np.stack([regret_at(grid, regret, np.full(len(rows), log)) for log in fine], axis=1)
    best = fine[costs.mean(0).argmin()]
    around = np.quantile([fine[costs[one].mean(0).argmin()] for one in drawn], (0.025, 0.975))
    ends = {"low": min(around[0], best), "kappa": best, "high": max(around[1], best)}
    table = {
        "format": FORMAT,
        "constant": {name: float(10.0**log) for name, log in ends.items()},
        "law": _law(grid, regret, inputs, terms, best, drawn) if terms else None,
        "tasks": len(rows),
        "source": source,
        "command": command,
    }
    KappaLaw.from_dict(table)  # what cannot be loaded is not written
    return table


def write(table: dict[str, Any], path: str | Path) -> None:
    """Writes a table that :func:`fit` made."""
    atomic_write(path, json.dumps(table, indent=2, ensure_ascii=False) + "\n")


def mean_regret(rows: Sequence[CurveRow], law: KappaLaw) -> float:
    """Points that the law's κ loses on average to the best constant of each row."""
    grid, regret = _curves(rows)
    return float(regret_at(grid, regret, np.log10([law.kappa(row.known)[0] for row in rows])).mean())


def regrets(rows: Sequence[CurveRow], log_kappa: float) -> Array:
    """Points that one κ loses to the best constant of each row."""
    grid, regret = _curves(rows)
    return regret_at(grid, regret, np.full(len(rows), log_kappa))


def _curves(rows: Sequence[CurveRow]) -> tuple[Array, Array]:
    """The constants ``[G]``, and the regret of each row to its best one ``[n, G]``, points."""
    if not rows:
        raise ValueError("no rows to fit")
    grid = np.array(rows[0].log_kappa, np.float64)
    if len(grid) < 2 or not (np.diff(grid) > 0).all():
        raise ValueError(f"log_kappa must be 2 or more rising numbers, got {rows[0].log_kappa}")
    if any(row.log_kappa != rows[0].log_kappa or len(row.accuracy) != len(grid) for row in rows):
        raise ValueError("all rows must have the same constants, and an accuracy for each")
    accuracy = 100.0 * np.array([row.accuracy for row in rows], np.float64)
    if not np.isfinite(accuracy).all():
        raise ValueError("an accuracy is not finite")
    return grid, accuracy.max(1, keepdims=True) - accuracy


def _inputs(rows: Sequence[CurveRow], terms: Sequence[str]) -> Array:
    """1 and the terms of each row, ``[n, 1 + T]``."""
    unknown = [name for name in terms if name not in TERMS]
    if unknown:
        raise ValueError(f"unknown terms: {', '.join(unknown)}; there are {', '.join(TERMS)}")
    values = [[1.0, *(TERMS[name](row.known) for name in terms)] for row in rows]
    if any(None in line for line in values):
        raise ValueError(f"not all rows say enough for the terms {', '.join(terms)}")
    return np.array(values, np.float64)


def regret_at(grid: Array, regret: Array, log_kappa: Array) -> Array:
    """Regret of each row at its own log₁₀ κ ``[n]``, linear between the constants ``[G]`` and level beyond them."""
    inside = np.clip(log_kappa, grid[0], grid[-1])
    right = np.clip(np.searchsorted(grid, inside), 1, len(grid) - 1)
    share = (inside - grid[right - 1]) / (grid[right] - grid[right - 1])
    row = np.arange(len(regret))
    return (1.0 - share) * regret[row, right - 1] + share * regret[row, right]


def _law(
    grid: Array, regret: Array, inputs: Array, terms: Sequence[str], best: float, drawn: Sequence[Any]
) -> dict[str, Any]:
    """The law's part of the table."""
    first = np.zeros(inputs.shape[1])
    first[0] = best
    found = least_regret(grid, regret, inputs, first)
    others = np.stack([least_regret(grid, regret[one], inputs[one], found) for one in drawn])
    return {
        "intercept": float(found[0]),
        "terms": dict(zip(terms, map(float, found[1:]), strict=True)),
        "covariance": np.cov(others, rowvar=False).tolist(),
        "lowest": float(grid[0]),
        "highest": float(grid[-1]),
    }


def least_regret(
    grid: Array, regret: Array, inputs: Array, first: Array, offset: Array | float = 0.0
) -> Array:
    """The coefficients of least mean regret, near ``first``; the cost is no smooth function of them.

    Args:
        grid: log₁₀ κ of the constants ``[G]``.
        regret: ``[n, G]``.
        inputs: ``[n, p]``.
        first: ``[p]``.
        offset: is added to what inputs and coefficients give, ``[n]``.
    """
    steps = np.vstack([np.zeros(len(first)), STARTS * np.eye(len(first))])
    options = {"initial_simplex": first + steps, "xatol": 1e-3, "fatol": 1e-4, "maxfev": 400 * len(first)}
    found = minimize(
        lambda c: float(regret_at(grid, regret, offset + inputs @ c).mean()),
        first,
        method="Nelder-Mead",
        options=options,
    )
    return np.asarray(found.x)
