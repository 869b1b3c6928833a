"""Statistics of a comparison: paired intervals, regret, interquartile mean, probability of improvement.

Scores are arrays ``[tasks, seeds]`` in percent. All schedules run on the same tasks and seeds with common random
numbers, so that schedules are compared by their differences, cell by cell.

The interquartile mean and the probability of improvement are those of Agarwal et al., "Deep Reinforcement Learning
at the Edge of the Statistical Precipice", NeurIPS 2021 (section 4.3 and appendix A.4; the ``rliable`` library).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import stats

Array = npt.NDArray[np.float64]

_CHUNK = 1_000_000  # random numbers drawn at once, which bounds the memory


def _table(values: npt.ArrayLike, what: str) -> Array:
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or table.size == 0:
        raise ValueError(f"{what} must be a table of tasks x seeds, got shape {table.shape}")
    if not np.isfinite(table).all():
        raise ValueError(f"{what} must be finite")
    return table


def bootstrap_interval(
    differences: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    unit: Literal["runs", "tasks"] = "runs",
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean of paired differences (Efron & Tibshirani 1993, chapter 13).

    Args:
        differences: ``[tasks, seeds]``, a schedule's score minus another's in the same cell.
        rng: draws the resamples.
        level: of the interval, in (0, 1).
        resamples: how many.
        unit: ``runs`` draws cells (task, seed) with replacement. ``tasks`` draws tasks, then seeds within each: wider
            where the difference depends on the task, and the one to read for tasks that are not in the suite.

    Returns:
        Lower and upper end, in the unit of the differences.

    Raises:
        ValueError: the table is not two-dimensional, empty or not finite, or an option is out of range.
    """
    table = _table(differences, "differences")
    if not 0.0 < level < 1.0 or resamples < 1:
        raise ValueError(f"level must lie in (0, 1) and resamples be positive, got {level} and {resamples}")
    tasks, seeds = table.shape
    chunk = max(1, _CHUNK // table.size)
    means = []
    for start in range(0, resamples, chunk):
        number = min(chunk, resamples - start)
        if unit == "runs":
            drawn = table.ravel()[rng.integers(table.size, size=(number, table.size))]
        elif unit == "tasks":
            rows = rng.integers(tasks, size=(number, tasks, 1))
            drawn = table[rows, rng.integers(seeds, size=(number, tasks, seeds))]
        else:
            raise ValueError(f"unit must be 'runs' or 'tasks', got {unit!r}")
        means.append(drawn.reshape(number, -1).mean(1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def mean_interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of a mean of a few values; NaN at both ends for fewer than two.

    A bootstrap of five values is too narrow, so the intervals within one task use this.
    """
    sample = np.asarray(values, np.float64)
    if sample.size < 2:
        return float("nan"), float("nan")
    half = float(stats.t.ppf((1 + level) / 2, sample.size - 1)) * sample.std(ddof=1) / np.sqrt(sample.size)
    return float(sample.mean() - half), float(sample.mean() + half)


def interquartile_mean(scores: npt.ArrayLike) -> float:
    """Mean of the middle half of all runs: less moved by a few bad runs than the mean (Agarwal 2021, 4.3)."""
    return float(stats.trim_mean(_table(scores, "scores").ravel(), 0.25))


def probability_of_improvement(scores: npt.ArrayLike, baseline: npt.ArrayLike) -> float:
    """How likely a run beats a run of the baseline on a random task (Agarwal 2021, 4.3; Mann-Whitney U).

    Args:
        scores: ``[tasks, seeds]``.
        baseline: ``[tasks, seeds of the baseline]``.

    Returns:
        In [0, 1]; a tie counts as half. Runs of one task are compared all with all, as ``rliable`` does, paired or not.
    """
    ours, theirs = _table(scores, "scores"), _table(baseline, "baseline")
    if len(ours) != len(theirs):
        raise ValueError(f"scores have {len(ours)} tasks, the baseline {len(theirs)}")
    margin = ours[:, :, None] - theirs[:, None, :]
    return float(np.mean((margin > 0) + 0.5 * (margin == 0)))


def best_constant_per_task(constants: Sequence[npt.ArrayLike]) -> npt.NDArray[np.int64]:
    """Which constant has the best mean over seeds, for each task: the oracle's choice, in hindsight.

    Args:
        constants: one ``[tasks, seeds]`` for each constant of the grid.

    Returns:
        Indices into ``constants``, ``[tasks]``; the first of equals.
    """
    if not len(constants):
        raise ValueError("the oracle constant needs at least one constant")
    means = np.stack([_table(item, "scores of a constant").mean(1) for item in constants])
    return np.argmax(means, axis=0).astype(np.int64)


def regret(scores: npt.ArrayLike, oracle: npt.ArrayLike) -> float:
    """The oracle constant's mean score minus a schedule's, in points; negative where the schedule is better."""
    ours, best = _table(scores, "scores"), _table(oracle, "oracle scores")
    if ours.shape != best.shape:
        raise ValueError(f"scores {ours.shape} and oracle scores {best.shape} must have the same shape")
    return float((best - ours).mean())
