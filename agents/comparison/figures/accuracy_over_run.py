"""Validation accuracy during the run."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lambda_rl.agents.comparison.figures.looks import lam_of, looks
from lambda_rl.agents.comparison.results import HAND_DESIGNED, LEARNED, NO_PENALTY
from lambda_rl.agents.comparison.statistics import Array
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import GREY, INK, dress, new_figure


def accuracy_over_run(comparison: Comparison) -> Figure:
    """Validation accuracy, mean over tasks and seeds, against the share of the run."""
    summary, trajectories = comparison.summary, comparison.trajectories
    best, look = summary.best_single_constant, looks(summary)
    figure = new_figure(7.2, 4.3)
    axes = figure.subplots()
    dress(axes)
    grid = np.linspace(0.0, 1.0, 41)[1:]
    ends = []
    for name in [*summary.of_kind(LEARNED), *summary.of_kind(HAND_DESIGNED), best, NO_PENALTY]:
        curve = _mean_curve(trajectories[trajectories["schedule"] == name], grid, 100.0 / summary.num_classes)
        learned = look[name].learned
        label = f"best single constant ({lam_of(best):g})" if name == best else name
        style = ":" if name == best else "--" if name == NO_PENALTY else "-"
        axes.plot(
            grid, curve, style, color=GREY if name == best else look[name].colour, linewidth=2.4 if learned else 1.4,
            label=f"{label}  {curve[-1]:.1f}", zorder=5 if learned else 3,
        )  # fmt: skip
        ends.append(float(curve[-1]))
    _legend(axes, ends)
    axes.set_xlim(0, 1)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("share of the run", fontsize=9, color=INK)
    axes.set_ylabel("validation accuracy, mean (%)", fontsize=9, color=INK)
    return figure


def _legend(axes: Axes, ends: list[float]) -> None:
    """Beside the axes, in the order in which the lines end."""
    order = np.argsort([-end for end in ends])
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        [handles[i] for i in order], [labels[i] for i in order], frameon=False, fontsize=8, loc="center left",
        bbox_to_anchor=(1.01, 0.5), title="schedule, accuracy at the end (%)", title_fontsize=8, alignment="left",
    )  # fmt: skip


def _mean_curve(lines: pd.DataFrame, grid: Array, chance: float) -> Array:
    """Mean over runs at equal shares of the run; a run that diverged early stays at chance from there on."""
    curves = []
    for _, run in lines.groupby(["task", "seed"]):
        progress, accuracy = run["progress"].to_numpy(), run["val_accuracy"].to_numpy(np.float64)
        accuracy = np.where(np.isfinite(accuracy), accuracy, chance)
        end = chance if progress[-1] < 0.999 else accuracy[-1]
        curves.append(np.interp(grid, progress, accuracy, left=np.nan, right=end))
    return np.asarray(np.mean(curves, axis=0), np.float64)
