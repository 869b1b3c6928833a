"""What schedules do: λ over the run, task by task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter

from lambda_rl.agents.comparison.figures.looks import BLACK, Look, by_training, lam_of, looks, together
from lambda_rl.agents.comparison.figures.svg import legend_entry, tip
from lambda_rl.agents.comparison.results import HAND_DESIGNED, LEARNED
from lambda_rl.agents.comparison.statistics import Array
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import GREY, INK, dress, new_figure

MAX_PANELS = 12
MOST_LINES = 3  # of hand-designed schedules, the best ones: they are not what the figure is about
_SINGLE, _ORACLE = "best single constant", "oracle constant of the task"
LOWEST_LAM = 1e-7  # where λ = 0 is drawn on a logarithmic axis


def lambda_trajectories(comparison: Comparison, width: float) -> Figure:
    """λ over the run, one panel a task: learned runs (each seed, and their mean), tuned schedules, best constants.

    Policies that differ in the seed of their training are one.
    """
    summary = comparison.summary
    agents = by_training(summary.of_kind(LEARNED))
    trajectories = together(comparison.trajectories, agents)
    tasks = _panels(summary.tasks)
    # Of the numbers of columns that leave the fewest panels empty, the largest.
    some = (4, 3) if width > 5 else (2,)
    columns = min(len(tasks), max(some, key=lambda number: (-(-len(tasks) % number), number)))
    rows = math.ceil(len(tasks) / columns)
    figure = new_figure(width, 0.8 * width / max(columns, 2) * rows + 1.1)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    shown = [*agents, *summary.of_kind(HAND_DESIGNED)[:MOST_LINES]]
    look = looks(summary)
    for axes, task in zip(grid.flat, tasks, strict=False):
        dress(axes)
        for name, constant, colour, style in (
            (_SINGLE, summary.best_single_constant, GREY, ":"),
            (_ORACLE, summary.oracle_constants[task], BLACK, "--"),
        ):
            lam = lam_of(constant)
            line = axes.axhline(max(lam, LOWEST_LAM), color=colour, linestyle=style, linewidth=1.3, zorder=2)
            tip(line, f"{name} on {task}: λ = {lam:g}", name)
        part = trajectories[trajectories["task"] == task]
        for name in reversed(shown):
            _draw(axes, part[part["schedule"] == name], name, look[name])
        _dress_panel(axes, task)
    for place, axes in enumerate(grid.flat):
        if place >= len(tasks):
            axes.remove()
        elif place + columns >= len(tasks):
            axes.tick_params(labelbottom=True)
    _bound(grid.flat[0], comparison)
    handles = _handles(shown, look)
    legend = figure.legend(
        handles=handles, loc="outside upper center", ncols=_columns(shown, width), frameon=False, fontsize=8
    )
    legend_entry(legend, {str(handle.get_label()): str(handle.get_label()) for handle in handles})
    figure.supxlabel("share of the run", fontsize=9, color=INK)
    figure.supylabel("λ (log scale)", fontsize=9, color=INK)
    return figure


def _columns(names: Sequence[str], width: float) -> int:
    """Of the legend: as many as there is room for, where names are as long as texts of schedules are."""
    longest = max(map(len, [*names, _ORACLE]))
    return max(1, min(4 if width > 5 else 2, int(width // (0.06 * longest)) if longest > len(_ORACLE) else 4))


def _bound(axes: Axes, comparison: Comparison) -> None:
    """The range of what policies did and of the best constants; others may leave it."""
    summary, rows = comparison.summary, comparison.trajectories
    learned = rows[rows["schedule"].isin(summary.of_kind(LEARNED))]["lam"].to_numpy(np.float64)
    constants = [lam_of(name) for name in summary.oracle_constants.values()]
    values = np.concatenate([learned, constants, [lam_of(summary.best_single_constant)]])
    values = values[np.isfinite(values) & (values > LOWEST_LAM)]
    if values.size:
        axes.set_ylim(float(values.min()) / 2.0, float(values.max()) * 2.0)


def _panels(tasks: Sequence[str]) -> list[str]:
    """At most ``MAX_PANELS`` tasks, spread over the list."""
    if len(tasks) <= MAX_PANELS:
        return list(tasks)
    return [tasks[i] for i in np.linspace(0, len(tasks) - 1, MAX_PANELS).round().astype(int)]


def _draw(axes: Axes, lines: pd.DataFrame, name: str, look: Look) -> None:
    """A schedule's mean over seeds of log λ; of a learned one each seed too."""
    if lines.empty:
        return
    lams = lines.pivot(index="decision", columns="seed", values="lam").to_numpy()
    table = np.log10(np.maximum(lams, LOWEST_LAM))
    # Where the intervals begin, and the end of the last one.
    edges = np.concatenate([[0.0], lines.groupby("decision")["progress"].max().to_numpy()])
    if look.learned:
        for seed in table.T:
            (line,) = axes.step(
                edges, 10.0 ** _closed(seed), where="post", color=look.colour, alpha=0.3, linewidth=0.7, zorder=4
            )  # fmt: skip
            tip(line, f"{name}, one seed", name)
    mean = np.array([row[np.isfinite(row)].mean() for row in table])
    (line,) = axes.step(
        edges, 10.0 ** _closed(mean), where="post", color=look.colour, alpha=1.0 if look.learned else 0.85,
        linewidth=2.2 if look.learned else 1.1, zorder=5 if look.learned else 3,
    )  # fmt: skip
    tip(line, f"{name}: λ from {10.0 ** mean[0]:.2g} to {10.0 ** mean[-1]:.2g}, mean over seeds", name)


def _closed(values: Array) -> Array:
    return np.concatenate([values, values[-1:]])


def _dress_panel(axes: Axes, task: str) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10, numticks=6))
    axes.yaxis.set_minor_locator(NullLocator())  # hundreds of ticks that take most of the time
    axes.set_title(task, fontsize=7 if len(task) < 28 else 6, color=INK)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xticks([0, 0.5, 1.0])
    first, _, last = axes.xaxis.get_major_ticks()
    first.label1.set_horizontalalignment("left")  # neighbours do not touch
    last.label1.set_horizontalalignment("right")


def _handles(shown: Sequence[str], look: Mapping[str, Look]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=look[name].colour, linewidth=2.2 if look[name].learned else 1.3, label=name)
        for name in shown
    ]
    return [
        *handles,
        Line2D([], [], color=GREY, linestyle=":", linewidth=1.6, label=_SINGLE),
        Line2D([], [], color=BLACK, linestyle="--", linewidth=1.4, label=_ORACLE),
    ]
