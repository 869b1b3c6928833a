"""What schedules do: λ over the run, task by task."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, PercentFormatter

from lambda_rl.agents.comparison.figures.looks import BLACK, Look, lam_of, looks
from lambda_rl.agents.comparison.results import HAND_DESIGNED, LEARNED
from lambda_rl.agents.comparison.statistics import Array
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import GREY, INK, dress, new_figure

MAX_PANELS = 12
LEGEND_WIDTH = 7.2  # inches that the legend over the panels needs, however few panels there are
LOWEST_LAM = 1e-7  # where λ = 0 is drawn on a logarithmic axis


def lambda_trajectories(comparison: Comparison) -> Figure:
    """λ over the run, one panel a task: learned runs (each seed, and their mean), tuned schedules, best constants."""
    summary, trajectories = comparison.summary, comparison.trajectories
    tasks = _panels(summary.tasks)
    # Of the widths that leave the fewest panels empty, the largest.
    columns = min(len(tasks), max((4, 3), key=lambda width: (-(-len(tasks) % width), width)))
    rows = math.ceil(len(tasks) / columns)
    figure = new_figure(max(2.6 * columns + 0.8, LEGEND_WIDTH), 2.05 * rows + 1.1)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    shown, look = summary.of_kind(LEARNED) + summary.of_kind(HAND_DESIGNED), looks(summary)
    for axes, task in zip(grid.flat, tasks, strict=False):
        dress(axes)
        for constant, colour, style, width in (
            (summary.best_single_constant, GREY, ":", 1.4),
            (summary.oracle_constants[task], BLACK, "--", 1.2),
        ):
            lam = max(lam_of(constant), LOWEST_LAM)
            axes.axhline(lam, color=colour, linestyle=style, linewidth=width, zorder=2)
        part = trajectories[trajectories["task"] == task]
        for name in reversed(shown):
            _draw(axes, part[part["schedule"] == name], look[name])
        _dress_panel(axes, task)
    for place, axes in enumerate(grid.flat):
        if place >= len(tasks):
            axes.remove()
        elif place + columns >= len(tasks):
            axes.tick_params(labelbottom=True)
    handles = _handles(shown, look)
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(5, len(handles)), frameon=False, fontsize=8
    )
    figure.supxlabel("share of the run", fontsize=9, color=INK)
    figure.supylabel("λ (log scale)", fontsize=9, color=INK)
    return figure


def _panels(tasks: Sequence[str]) -> list[str]:
    """At most ``MAX_PANELS`` tasks, spread over the list."""
    if len(tasks) <= MAX_PANELS:
        return list(tasks)
    return [tasks[i] for i in np.linspace(0, len(tasks) - 1, MAX_PANELS).round().astype(int)]


def _draw(axes: Axes, lines: pd.DataFrame, look: Look) -> None:
    """A schedule's mean over seeds of log λ; of a learned one each seed too."""
    if lines.empty:
        return
    lams = lines.pivot(index="decision", columns="seed", values="lam").to_numpy()
    table = np.log10(np.maximum(lams, LOWEST_LAM))
    # Where the intervals begin, and the end of the last one.
    edges = np.concatenate([[0.0], lines.groupby("decision")["progress"].max().to_numpy()])
    if look.learned:
        for seed in table.T:
            axes.step(
                edges, 10.0 ** _closed(seed), where="post", color=look.colour, alpha=0.3, linewidth=0.7, zorder=4
            )  # fmt: skip
    mean = np.array([row[np.isfinite(row)].mean() for row in table])
    axes.step(
        edges, 10.0 ** _closed(mean), where="post", color=look.colour, alpha=1.0 if look.learned else 0.85,
        linewidth=2.2 if look.learned else 1.1, zorder=5 if look.learned else 3,
    )  # fmt: skip


def _closed(values: Array) -> Array:
    return np.concatenate([values, values[-1:]])


def _dress_panel(axes: Axes, task: str) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(10, numticks=6))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title(task, fontsize=8, color=INK)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xticks([0, 0.5, 1.0])


def _handles(shown: Sequence[str], look: Mapping[str, Look]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=look[name].colour, linewidth=2.2 if look[name].learned else 1.3, label=name)
        for name in shown
    ]
    return [
        *handles,
        Line2D([], [], color=GREY, linestyle=":", linewidth=1.6, label="best single constant"),
        Line2D([], [], color=BLACK, linestyle="--", linewidth=1.4, label="oracle constant of the task"),
    ]
