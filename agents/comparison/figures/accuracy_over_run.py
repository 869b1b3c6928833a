"""Validation accuracy during the run."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lambda_rl.agents.comparison.figures.looks import by_training, lam_of, looks, together
from lambda_rl.agents.comparison.figures.svg import legend_entry, tip
from lambda_rl.agents.comparison.results import HAND_DESIGNED, LEARNED, NO_PENALTY
from lambda_rl.agents.comparison.statistics import Array
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import GREY, INK, dress, new_figure

MOST_LINES = 5  # of hand-designed schedules, the best ones


def accuracy_over_run(comparison: Comparison, width: float) -> Figure:
    """Validation accuracy minus the best single constant's, mean over tasks and seeds, against the share of the run.

    Policies that differ in the seed of their training are one.
    """
    summary = comparison.summary
    agents = by_training(summary.of_kind(LEARNED))
    trajectories = together(comparison.trajectories, agents)
    best, look, labels = summary.best_single_constant, looks(summary), dict[str, str]()
    figure = new_figure(width, 3.8 if width > 5 else 4.6)
    axes = figure.subplots()
    dress(axes)
    grid = np.linspace(0.0, 1.0, 41)[1:]
    ends = []

    def curve_of(name: str) -> Array:
        return _mean_curve(trajectories[trajectories["schedule"] == name], grid, 100.0 / summary.num_classes)

    base = curve_of(best)
    shown = [*agents, *summary.of_kind(HAND_DESIGNED)[:MOST_LINES]]
    for name in dict.fromkeys([*shown, best, NO_PENALTY]):
        curve, learned = curve_of(name), look[name].learned
        label = f"best single constant ({lam_of(best):g})" if name == best else name
        label = f"{label}  {curve[-1]:.1f}"
        style = ":" if name == best else "--" if name == NO_PENALTY else "-"
        (line,) = axes.plot(
            grid, curve - base, style, color=GREY if name == best else look[name].colour,
            linewidth=2.4 if learned else 1.4, label=label, zorder=5 if learned else 3,
        )  # fmt: skip
        tip(line, f"{name}: {curve[-1]:.2f} % validation accuracy at the end", name)
        labels[label] = name
        ends.append(float(curve[-1]))
    _bound(axes, grid)
    _legend(axes, ends, labels, beside=width > 5)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("share of the run", fontsize=9, color=INK)
    axes.set_ylabel("validation accuracy minus\nthe best single constant's (points)", fontsize=9, color=INK)
    return figure


def _bound(axes: Axes, grid: Array) -> None:
    """Cuts the axis below: a schedule that fails must not squeeze all others."""
    later = [np.asarray(line.get_ydata(), np.float64)[grid > 0.25] for line in axes.get_lines()]
    values = np.concatenate(later)
    values = values[np.isfinite(values)]
    if values.size:
        low, high = float(np.quantile(values, 0.03)), float(values.max())
        axes.set_ylim(low - 0.1 * (high - low) - 0.2, high + 0.1 * (high - low) + 0.2)


def _legend(axes: Axes, ends: list[float], schedules: dict[str, str], *, beside: bool) -> None:
    """Beside or below the axes, in the order in which the lines end."""
    order = np.argsort([-end for end in ends])
    handles, labels = axes.get_legend_handles_labels()
    chosen = [handles[i] for i in order], [labels[i] for i in order]
    title = "schedule, accuracy at the end (%)"
    if beside:
        legend = axes.legend(
            *chosen, frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), title=title,
            title_fontsize=8, alignment="left",
        )  # fmt: skip
    else:
        figure = axes.get_figure()
        assert isinstance(figure, Figure)
        legend = figure.legend(
            *chosen, frameon=False, fontsize=7.5, loc="outside lower center", title=title, title_fontsize=8
        )
    legend_entry(legend, schedules)


def _mean_curve(lines: pd.DataFrame, grid: Array, chance: float) -> Array:
    """Mean over runs at equal shares of the run; a run that diverged early stays at chance from there on."""
    curves = []
    for _, run in lines.groupby(["task", "seed"]):
        progress, accuracy = run["progress"].to_numpy(), run["val_accuracy"].to_numpy(np.float64)
        accuracy = np.where(np.isfinite(accuracy), accuracy, chance)
        end = chance if progress[-1] < 0.999 else accuracy[-1]
        curves.append(np.interp(grid, progress, accuracy, left=np.nan, right=end))
    return np.asarray(np.mean(curves, axis=0), np.float64)
