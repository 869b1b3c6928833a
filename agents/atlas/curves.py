"""Out of a cell's rows: its curve over log κ, the best constant with an interval, and how wide the basin is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from lambda_rl.agents.atlas.design import Cell
from lambda_rl.agents.atlas.rows import LOG_KAPPAS, Key, PolicyRow, Row

Array = npt.NDArray[np.float64]

FINE: Array = np.round(np.arange(LOG_KAPPAS[0], LOG_KAPPAS[-1] + 0.01, 0.05), 2)
"""log₁₀ κ at which curves are told."""
SMOOTHING = 0.15
"""Decades: half a step between two constants. Wider, a cliff at large κ would move the best to smaller κ."""
TOLERANCE = 0.5
"""Points below the best that are in the basin."""
RESAMPLES = 400


def smoother() -> Array:
    """Weights ``[F, G]`` from the constants to :data:`FINE`: a Gaussian of :data:`SMOOTHING`; each row sums to 1."""
    weights = np.exp(-0.5 * ((FINE[:, None] - np.array(LOG_KAPPAS)) / SMOOTHING) ** 2)
    return np.asarray(weights / weights.sum(1, keepdims=True))


@dataclass(frozen=True)
class CellCurve:
    """What a cell came to; logarithms are log₁₀, accuracies percent.

    Attributes:
        cell: the cell.
        row: of one of its seeds, for the facts.
        seeds: how many there are.
        curve: mean accuracy, smoothed, at :data:`FINE`.
        draws: best log κ of each bootstrap sample of the seeds.
        policy: mean accuracy under the policy; NaN: none.
        policy_log_kappa: mean over its runs.
    """

    cell: Cell
    row: Row
    seeds: int
    curve: Array
    draws: Array
    policy: float
    policy_log_kappa: float

    @property
    def log_kappa(self) -> float:
        """Of the best constant."""
        return float(FINE[self.curve.argmax()])

    @property
    def interval(self) -> tuple[float, float]:
        """Of the best log κ, 95 %, by bootstrap over seeds."""
        low, high = np.quantile(self.draws, (0.025, 0.975))
        return min(float(low), self.log_kappa), max(float(high), self.log_kappa)

    @property
    def shift(self) -> float:
        """What log κ and this make log λ."""
        return -math.log10(self.row.decay_sum)

    @property
    def regret(self) -> Array:
        """Points below the best at :data:`FINE`."""
        return np.asarray(self.curve.max() - self.curve)

    @property
    def basin(self) -> tuple[float, float]:
        """Ends of what lies within :data:`TOLERANCE` of the best, and around it."""
        good = self.regret <= TOLERANCE
        best = int(self.curve.argmax())
        low, high = best, best
        while low > 0 and good[low - 1]:
            low -= 1
        while high < len(FINE) - 1 and good[high + 1]:
            high += 1
        return float(FINE[low]), float(FINE[high])

    @property
    def width(self) -> float:
        """Of the basin, decades; at most that of the grid."""
        low, high = self.basin
        return high - low

    @property
    def gain(self) -> float:
        """Points of the best constant over the smallest, which is as good as none."""
        return float(self.curve.max() - self.curve[0])

    @property
    def sharp(self) -> bool:
        """Whether the basin ends within the grid on both sides: there is a best constant."""
        low, high = self.basin
        return low > FINE[0] and high < FINE[-1]


def curves_of(
    cells: Sequence[tuple[Cell, str]],
    rows: Mapping[Key, Row],
    seeds: int,
    policies: Mapping[Key, PolicyRow] = MappingProxyType({}),
) -> list[CellCurve]:
    """The cells of which there are all seeds.

    Args:
        cells: with their digests.
        rows: by their keys.
        seeds: of each cell.
        policies: what one policy came to, likewise; may be missing.
    """
    matrix = smoother()
    found = []
    for cell, digest in cells:
        own = [rows[digest, seed] for seed in range(seeds) if (digest, seed) in rows]
        if len(own) == seeds:
            played = [policies[row.key] for row in own if row.key in policies]
            found.append(_curve(cell, own, matrix, played if len(played) == seeds else []))
    return found


def _curve(cell: Cell, rows: Sequence[Row], matrix: Array, played: Sequence[PolicyRow]) -> CellCurve:
    accuracy = np.array([row.accuracy for row in rows])
    mean, count = accuracy.mean(0), len(rows)
    drawn = np.random.default_rng(0).integers(count, size=(RESAMPLES, count))
    # Means of few resampled seeds vary too little, by this factor.
    stretch = math.sqrt(count / (count - 1)) if count > 1 else 1.0
    means = mean + stretch * (accuracy[drawn].mean(1) - mean)
    policy, log_kappa = math.nan, math.nan
    if played:
        policy, log_kappa = np.mean([(row.accuracy, row.log_kappa) for row in played], axis=0).tolist()
    best = FINE[(means @ matrix.T).argmax(1)]
    return CellCurve(cell, rows[0], count, matrix @ mean, best, policy, log_kappa)
