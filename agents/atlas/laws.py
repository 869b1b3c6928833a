"""Laws for the best constant, fitted to cells, and what they cost on families of cells that they were not fitted to.

A law gives log κ = offset + inputs · coefficients out of what is known before a run. Its coefficients are those of
least mean regret on the curves, as in :mod:`lambda_rl.agents.baselines.kappa_law`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from lambda_rl.agents.atlas.curves import FINE, Array, CellCurve
from lambda_rl.agents.baselines.kappa_law import least_regret, regret_at
from lambda_rl.envs.optimizers import OPTIMIZERS
from lambda_rl.suggest.atlas import ATLAS_TERMS
from lambda_rl.suggest.kappa_law import Known

Column = Callable[[CellCurve], float]


def known_of(curve: CellCurve) -> Known:
    """What a user knows before the run."""
    row, adaptive = curve.row, OPTIMIZERS[curve.cell.task.optimizer].adaptive
    return Known(
        row.epochs, row.num_params / row.num_train, adaptive, curve.cell.norm != "none", row.decay_sum
    )


def _term(name: str) -> Column:
    def column(curve: CellCurve) -> float:
        value = ATLAS_TERMS[name](known_of(curve))
        assert value is not None
        return value

    return column


def _log_epochs(curve: CellCurve) -> float:
    return float(np.log10(curve.row.epochs))


def _log_seen_per_weight(curve: CellCurve) -> float:
    return float(np.log10(curve.row.epochs * curve.row.num_train / curve.row.num_params))


@dataclass(frozen=True)
class Law:
    """A law; its first coefficient is always that of 1.

    Attributes:
        name: in tables.
        form: what it says, in Markdown.
        offset: a part of log κ that has no coefficient.
        terms: what further coefficients multiply.
    """

    name: str
    form: str
    offset: Column = field(default=lambda curve: 0.0)
    terms: tuple[Column, ...] = ()

    def predict(self, curves: Sequence[CellCurve], coefficients: Array) -> Array:
        """What it says of each cell, log κ."""
        offset, inputs = self.columns(curves)
        return np.asarray(offset + inputs @ coefficients)

    def columns(self, curves: Sequence[CellCurve]) -> tuple[Array, Array]:
        """Offset ``[n]`` and inputs ``[n, p]``."""
        inputs = [[1.0, *(term(curve) for term in self.terms)] for curve in curves]
        return np.array([self.offset(curve) for curve in curves]), np.array(inputs)

    def fit(self, curves: Sequence[CellCurve]) -> Array:
        """The coefficients of least mean regret."""
        offset, inputs = self.columns(curves)
        regret = np.stack([curve.regret for curve in curves])
        shifts = np.arange(FINE[0] - offset.max(), FINE[-1] - offset.min() + 0.01, 0.05)
        costs = [regret_at(FINE, regret, offset + shift).mean() for shift in shifts]
        best = float(shifts[int(np.argmin(costs))])
        if not self.terms:
            return np.array([best])
        sharp = [n for n, curve in enumerate(curves) if curve.sharp]
        target = np.array([curves[n].log_kappa for n in sharp]) - offset[sharp]
        starts = [np.eye(1 + len(self.terms))[0] * best]
        if len(sharp) > len(self.terms):
            starts.append(np.linalg.lstsq(inputs[sharp], target, rcond=None)[0])
        found = [least_regret(FINE, regret, inputs, start, offset) for start in starts]
        found = [least_regret(FINE, regret, inputs, one, offset) for one in found]
        return min(found, key=lambda one: float(regret_at(FINE, regret, offset + inputs @ one).mean()))


def static_law(name: str, terms: Sequence[str]) -> Law:
    """A law that is linear in terms by names of :data:`lambda_rl.suggest.atlas.ATLAS_TERMS`."""
    return Law(
        name, "log κ = c + " + " + ".join(f"c·{term}" for term in terms), terms=tuple(map(_term, terms))
    )


STATIC_TERMS = ("log_epochs", "log_params_per_example", "adaptive", "normalised")
LAWS = (
    Law("constant λ", "λ = c", offset=lambda curve: -curve.shift),
    Law("constant κ", "κ = c"),
    Law("τ rule", "κ = epochs / τ", offset=_log_epochs),
    Law("Power Lines", "κ = (examples seen / weights)^m / c", terms=(_log_seen_per_weight,)),
    static_law("static facts", STATIC_TERMS),
    static_law("static facts and Σ lr", (*STATIC_TERMS, "log_decay_sum")),
)

GROUPINGS: dict[str, Callable[[CellCurve], str]] = {
    "data": lambda curve: curve.cell.family,
    "network": lambda curve: "conv" if curve.cell.family == "conv" else curve.cell.norm,
    "optimizer": lambda curve: curve.cell.optimizer,
}
"""What families may be of."""


def left_out(law: Law, curves: Sequence[CellCurve], family: Callable[[CellCurve], str]) -> Array:
    """What a law says of each cell, log κ ``[n]``, fitted to the cells of all other families.

    Raises:
        ValueError: there is one family alone.
    """
    families = np.array([family(curve) for curve in curves])
    found = np.zeros(len(curves))
    for name in dict.fromkeys(families.tolist()):
        held = families == name
        others = [curve for curve, out in zip(curves, held, strict=True) if not out]
        if not others:
            raise ValueError(f"a law needs cells of two families, there is {name} alone")
        own = [curve for curve, out in zip(curves, held, strict=True) if out]
        found[held] = law.predict(own, law.fit(others))
    return found


@dataclass(frozen=True)
class Error:
    """How far off something is on each cell.

    Attributes:
        regret: points below the best constant, ``[n]``.
        decades: from the best log κ, ``[n]``; NaN where the cell has no best one, or nothing is predicted.
    """

    regret: Array
    decades: Array


def error_of(curves: Sequence[CellCurve], log_kappa: Array) -> Error:
    """Of constants."""
    regret = regret_at(FINE, np.stack([curve.regret for curve in curves]), log_kappa)
    off = np.abs(np.clip(log_kappa, FINE[0], FINE[-1]) - [curve.log_kappa for curve in curves])
    return Error(regret, np.where([curve.sharp for curve in curves], off, np.nan))


def error_of_policy(curves: Sequence[CellCurve]) -> Error:
    """Of the policy, as it ran."""
    regret = np.array([curve.curve.max() - curve.policy for curve in curves])
    return Error(regret, np.full(len(curves), np.nan))


def outside_basin(curves: Sequence[CellCurve], log_kappa: Array) -> Array:
    """Decades from a prediction to the nearest end of the basin, ``[n]``: positive if the basin lies above, 0 in it."""
    ends = np.array([curve.basin for curve in curves])
    # A basin that reaches an end of the grid goes on beyond it.
    low = np.where(ends[:, 0] <= FINE[0], -np.inf, ends[:, 0])
    high = np.where(ends[:, 1] >= FINE[-1], np.inf, ends[:, 1])
    return np.where(log_kappa < low, low - log_kappa, np.where(log_kappa > high, high - log_kappa, 0.0))


def by_family(
    curves: Sequence[CellCurve], errors: Mapping[str, Error], family: Callable[[CellCurve], str]
) -> dict[str, dict[str, float]]:
    """Mean regret of each family's cells, by the name of what is off."""
    families = np.array([family(curve) for curve in curves])
    return {
        name: {one: float(error.regret[families == name].mean()) for one, error in errors.items()}
        for name in dict.fromkeys(families.tolist())
    }
