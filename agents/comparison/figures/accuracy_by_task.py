"""The same difference, task by task."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from lambda_rl.agents.baselines import GRID_SEARCH
from lambda_rl.agents.comparison.evidence import Evidence
from lambda_rl.agents.comparison.figures.svg import tip
from lambda_rl.agents.comparison.results import BEST_SINGLE, HAND_DESIGNED, NO_PENALTY, ORACLE
from lambda_rl.agents.comparison.statistics import Array, mean_interval
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import INK, new_figure

_MOST = 4  # points at which a colour is full
_SHADES = LinearSegmentedColormap.from_list("harm", ["#D55E00", "#FFFFFF", "#0072B2"])


def columns(evidence: Evidence, most: int) -> list[str]:
    """Schedules that are shown by task: policies first, then searches and bounds, and the best written by hand."""
    learned = [item.name for item in evidence.learned]
    names = {item.name for item in evidence.standings}
    fixed = [name for name in (GRID_SEARCH, ORACLE, NO_PENALTY) if name in names]
    hand = [item.name for item in evidence.standings if item.kind == HAND_DESIGNED]
    room = max(0, most - len(fixed) - len(learned))
    return [*learned, *hand[:room], *fixed][: max(most, len(learned))]


def accuracy_by_task(comparison: Comparison, width: float) -> Figure:
    """Difference in test accuracy to the best single constant, a row for each task and a column for each schedule."""
    summary, evidence = comparison.summary, comparison.evidence
    tasks, names = list(summary.tasks), columns(evidence, 9 if width > 5 else 4)
    base = np.array([summary.schedules[BEST_SINGLE].tasks[task] for task in tasks])
    table = np.stack([np.array(list(evidence.standing(name).tasks.values())) - base for name in names], 1)
    figure = new_figure(width, 0.3 * len(tasks) + 1.5)
    axes = figure.subplots()
    axes.imshow(table, cmap=_SHADES, vmin=-_MOST, vmax=_MOST, aspect="auto")
    errors = _errors(comparison, names)
    for row, task in enumerate(tasks):
        for column, name in enumerate(names):
            _cell(axes, (row, column), table[row, column], errors[row, column], f"{name} on {task}")
    axes.set_yticks(range(len(tasks)), tasks)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="left", rotation_mode="anchor")
    axes.xaxis.tick_top()
    axes.tick_params(length=0, labelsize=8 if width > 5 else 6.5, colors=INK)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("points above the best single constant", fontsize=9, color=INK)
    axes.xaxis.set_label_position("bottom")
    return figure


def _errors(comparison: Comparison, names: list[str]) -> Array:
    """Half the 95 % interval over seeds, of policies; NaN elsewhere, and where there is one seed."""
    results, evidence = comparison.results, comparison.evidence
    base = results.scores(BEST_SINGLE)
    found = np.full((len(base), len(names)), np.nan)
    for column, name in enumerate(names):
        item = evidence.standing(name)
        if not item.learned:
            continue
        runs = np.concatenate([results.scores(member) - base for member in item.policies or (name,)], 1)
        found[:, column] = [(high - low) / 2 for low, high in map(mean_interval, runs)]
    return found


def _cell(axes: Axes, place: tuple[int, int], value: float, error: float, what: str) -> None:
    row, column = place
    number = "0.0" if abs(value) < 0.05 else f"{value:+.1f}".replace("-", "−")
    spread = f" ±{error:.1f}" if np.isfinite(error) else ""
    text = axes.text(
        column, row, number + spread, ha="center", va="center", fontsize=7,
        color="white" if abs(value) > 0.75 * _MOST else "#111112", fontweight="bold" if spread else "normal",
    )  # fmt: skip
    tip(text, f"{what}: {number}{spread} points")
