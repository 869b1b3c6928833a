"""From runs to gains: a schedule's accuracy minus that of constants, seed by seed, and intervals over seeds.

Constants are chosen in two ways. ``validation``: for each seed the constant with the best final validation accuracy,
which is what a grid search does, and what the paper's comparison stands for. ``hindsight``: for each cell the
constant with the best mean test accuracy, a bound that no rule reaches. Gains are always on test accuracy.

All schedules of a seed share initial weights and minibatches, so gains are paired by seed. Seeds are also shared by
the cells of a figure; therefore an average over cells is taken within each seed first, and the interval is Student's
over the seeds' averages (a bootstrap of so few seeds would be too narrow).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from lambda_rl.agents.comparison.statistics import Array, mean_interval
from lambda_rl.agents.comparison.tables import Results
from lambda_rl.agents.reproduction.lu2017.settings import STAGES, Budget

Choice = Literal["validation", "hindsight"]


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def above(self) -> bool:
        """Whether the whole interval lies above 0."""
        return self.low > 0

    @property
    def below(self) -> bool:
        """Whether it lies below 0."""
        return self.high < 0


def estimate(values: np.ndarray, comparisons: int = 1) -> Estimate:
    """Mean and interval over seeds.

    Args:
        values: ``[..., seeds]``; all but the last axis is averaged first.
        comparisons: how many intervals are looked at together; they hold at once with 95 % (Bonferroni).
    """
    per_seed = np.asarray(values, np.float64).reshape(-1, np.shape(values)[-1]).mean(0)
    low, high = mean_interval(per_seed, 1 - 0.05 / comparisons)
    return Estimate(float(per_seed.mean()), low, high)


def select(
    runs: pd.DataFrame, *, network: str = "mlp", penalty: str = "l2", width: int = 0, iterations: int = 0,
    variation: str = "",
) -> pd.DataFrame:  # fmt: skip
    """The runs of one cell; width or iterations 0 means any.

    Raises:
        KeyError: there are none.
    """
    keep = (runs["network"] == network) & (runs["penalty"] == penalty) & (runs["variation"] == variation)
    if width:
        keep &= runs["width"] == width
    if iterations:
        keep &= runs["iterations"] == iterations
    part = runs[keep]
    if part.empty:
        raise KeyError(f"no runs of {network} {penalty} width {width} iterations {iterations} {variation!r}")
    return part


def scores(cell: pd.DataFrame, schedule: str, column: str = "test_accuracy") -> Array:
    """A schedule's accuracy in one cell, ``[seeds]``, percent.

    Raises:
        KeyError: the cell has no such schedule.
    """
    if not (cell["schedule"] == schedule).any():
        raise KeyError(f"no runs of {schedule}")
    (seeds,) = Results(cell.assign(task="the cell")).scores(schedule, column)
    return seeds


def _names(cell: pd.DataFrame, kind: str) -> list[str]:
    return [name for name in dict.fromkeys(cell["schedule"]) if name.startswith(kind)]


def constant_names(cell: pd.DataFrame) -> list[str]:
    """The constants of a cell, as they were listed."""
    return _names(cell, "constant:")


def chosen_constants(cell: pd.DataFrame, choice: Choice = "validation") -> list[str]:
    """Which constant is chosen, one name a seed."""
    names = constant_names(cell)
    column = "val_accuracy" if choice == "validation" else "test_accuracy"
    table = np.stack([scores(cell, name, column) for name in names])
    if choice == "hindsight":
        return [names[int(np.argmax(table.mean(1)))]] * table.shape[1]
    return [names[i] for i in np.argmax(table, 0)]


def best_constant(cell: pd.DataFrame, choice: Choice = "validation") -> Array:
    """Test accuracy of the chosen constant, ``[seeds]``."""
    return np.array([scores(cell, name)[seed] for seed, name in enumerate(chosen_constants(cell, choice))])


def gain(cell: pd.DataFrame, schedule: str, against: str = "validation") -> Array:
    """A schedule's test accuracy minus another's, ``[seeds]``, points.

    Args:
        cell: its runs.
        schedule: its name.
        against: ``validation`` or ``hindsight`` for the constant chosen so, or a schedule's name.
    """
    other = (
        best_constant(cell, against)  # type: ignore[arg-type]
        if against in ("validation", "hindsight")
        else scores(cell, against)
    )
    return scores(cell, schedule) - other


def gap_gain(cell: pd.DataFrame, column: str = "test_accuracy") -> Array:
    """The gap rule minus the constant that it starts from, mean over the starts, ``[seeds]``, points."""
    pairs = [
        scores(cell, name, column) - scores(cell, name.replace("gap:", "constant:"), column)
        for name in _names(cell, "gap:")
    ]
    return np.mean(pairs, axis=0)


def gap_best(cell: pd.DataFrame) -> Array:
    """The gap rule (mean over the starts) minus the best constant by validation, ``[seeds]``, points."""
    return np.mean([gain(cell, name) for name in _names(cell, "gap:")], axis=0)


def by_width(
    runs: pd.DataFrame, budget: Budget, measure: Callable[[pd.DataFrame], np.ndarray], penalty: str = "l2"
) -> Array:
    """A measure of each cell of the two-layer network at ``budget.column``, ``[widths, seeds, ...]``."""
    cells = [select(runs, penalty=penalty, width=w, iterations=budget.column) for w in budget.widths]
    return np.array([measure(cell) for cell in cells])


def gain_grid(runs: pd.DataFrame, budget: Budget, schedule: str, against: str = "validation") -> Array:
    """A schedule's gains over the grid of Figure 1, ``[iterations, widths, seeds]``, points."""
    return np.array(
        [
            [gain(select(runs, width=w, iterations=n), schedule, against) for w in budget.widths]
            for n in budget.iterations
        ]
    )


def slopes(values: np.ndarray, widths: Sequence[int]) -> Array:
    """Change of a gain per doubling of hidden units (least squares on log₂ of the width), ``[..., seeds]``.

    Args:
        values: ``[..., widths, seeds]``.
        widths: at least two.
    """
    x = np.log2(np.asarray(widths, np.float64))
    x = x - x.mean()
    return np.einsum("w,...ws->...s", x, np.asarray(values, np.float64)) / (x**2).sum()


def curves(cell: pd.DataFrame, schedule: str) -> Array:
    """Validation accuracy at each interval's end, ``[seeds, decisions]``, percent; a run that diverged stays at NaN."""
    part = cell[cell["schedule"] == schedule].sort_values("seed")
    return _padded(list(part["curve"]))


def time_to_reach(curve: np.ndarray, target: np.ndarray, times: np.ndarray) -> Array:
    """When each curve first comes to its target; a curve that never does counts as the whole run.

    Args:
        curve: ``[seeds, decisions]``.
        target: ``[seeds]``.
        times: ``[decisions]``, the ends of the intervals.
    """
    reached = curve >= np.asarray(target)[:, None]
    return np.where(reached.any(1), times[np.argmax(reached, 1)], times[-1]).astype(np.float64)


def trace(cell: pd.DataFrame, schedule: str, kind: str, factor: float) -> Array:
    """Share of weights at zero (``zero``) or come back (``revived``) over the run, ``[seeds, intervals]``.

    Raises:
        KeyError: the weights of these runs were not followed.
    """
    part = cell[cell["schedule"] == schedule].sort_values("seed")
    if part.empty or kind not in part or not all(isinstance(item, dict) for item in part[kind]):
        raise KeyError(f"the weights of {schedule} were not followed")
    return _padded([item[str(float(factor))] for item in part[kind]])


def _padded(lines: Sequence[Sequence[float | None]]) -> Array:
    """Lines of different lengths as one table; what is missing is NaN."""
    length = max(map(len, lines))
    return np.array(
        [[np.nan if v is None else v for v in line] + [np.nan] * (length - len(line)) for line in lines],
        np.float64,
    )


def stage_ends(count: int) -> list[int]:
    """Indices of a ``zero`` trace (whose first entry is the start) where stages end."""
    return [(count - 1) * (k + 1) // STAGES for k in range(STAGES)]
