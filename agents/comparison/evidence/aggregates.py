"""Aggregates of Agarwal et al. 2021 with stratified bootstrap intervals, and what a schedule risks.

"Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021, section 4. The definitions are
those of the library ``rliable`` 1.2.0; a test holds its numbers. The library itself is archived, and brings
statsmodels, arch and seaborn for these few lines.

Tables are ``[tasks, runs]``. The stratified bootstrap draws the runs of each task anew, and keeps the tasks: its
intervals are about these tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from scipy import stats

from lambda_rl.agents.comparison.statistics import Array

RESAMPLES = 2_000
_CHUNK = 1_000_000  # numbers drawn at once, which bounds the memory

Statistic = Callable[[Array], Array]
"""Tables ``[resamples, tasks, runs]`` to one number each."""


def resampled(
    table: Array, rng: np.random.Generator, resamples: int = RESAMPLES
) -> Iterator[npt.NDArray[np.float64]]:
    """Tables like this one, ``[some, tasks, runs]`` at a time, the runs of each task drawn with replacement."""
    tasks, runs = table.shape
    chunk = max(1, _CHUNK // table.size)
    rows = np.arange(tasks)[:, None]
    for start in range(0, resamples, chunk):
        number = min(chunk, resamples - start)
        yield table[rows, rng.integers(runs, size=(number, tasks, runs))]


def _ends(values: Array, level: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def iqm_interval(scores: Array, rng: np.random.Generator, level: float = 0.95) -> tuple[float, float]:
    """Interval of the interquartile mean over all runs of all tasks."""
    drawn = [
        stats.trim_mean(tables.reshape(len(tables), -1), 0.25, axis=1) for tables in resampled(scores, rng)
    ]
    return _ends(np.concatenate(drawn), level)


def probability_interval(
    scores: Array, baseline: Array, rng: np.random.Generator, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the probability that a run beats a run of the baseline, on a task at random."""
    drawn = []
    for ours, theirs in zip(resampled(scores, rng), resampled(baseline, rng), strict=True):
        margin = ours[:, :, :, None] - theirs[:, :, None, :]
        drawn.append(((margin > 0) + 0.5 * (margin == 0)).mean((1, 2, 3)))
    return _ends(np.concatenate(drawn), level)


def performance_profile(scores: Array, thresholds: Array) -> Array:
    """Share of runs above each threshold (the score distribution of section 4.2), ``[thresholds]``."""
    return np.asarray((scores.ravel()[None, :] > thresholds[:, None]).mean(1), np.float64)


def profile_band(
    scores: Array, thresholds: Array, rng: np.random.Generator, level: float = 0.95
) -> tuple[Array, Array]:
    """Pointwise interval of :func:`performance_profile`: lower and upper ends, ``[thresholds]`` each."""
    drawn = []
    for tables in resampled(scores, rng, RESAMPLES // 4):
        flat = np.sort(tables.reshape(len(tables), -1), axis=1)
        drawn += [1.0 - np.searchsorted(row, thresholds, side="right") / len(row) for row in flat]
    low, high = np.quantile(np.stack(drawn), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def share_hurt(differences: Array, margin: float = 1.0) -> float:
    """Share of tasks whose mean difference, over runs, is more than ``margin`` points below zero."""
    return float((differences.mean(1) < -margin).mean())


def conditional_value_at_risk(differences: Array, share: float = 0.2) -> float:
    """Mean over the worst tasks, a ``share`` of all: what to expect where things go badly, in points.

    The expectation below a quantile (Rockafellar & Uryasev 2000): of a task that lies across the quantile, only the
    part below it counts.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"share must lie in (0, 1], got {share}")
    means = np.sort(differences.mean(1))
    worst = share * len(means)
    weights = np.clip(worst - np.arange(len(means)), 0.0, 1.0)
    return float(weights @ means / worst)
