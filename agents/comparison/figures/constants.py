"""What λ does where it is held."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from lambda_rl.agents.comparison.figures.looks import lam_of, looks
from lambda_rl.agents.comparison.results import LEARNED
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import INK, dress, new_figure


def constants(comparison: Comparison) -> Figure:
    """Test accuracy against a constant λ: each task, their mean, and the learned schedules' means."""
    results, summary = comparison.results, comparison.summary
    look, learned = looks(summary), summary.of_kind(LEARNED)
    figure = new_figure(7.2, 4.0)
    axes = figure.subplots()
    dress(axes)
    names = [name for name in summary.constants if lam_of(name) > 0]
    lams = [lam_of(name) for name in names]
    table = np.stack([results.scores(name).mean(1) for name in names], 1)
    for row in table:
        axes.plot(lams, row, color="#C4C4C4", linewidth=0.9, zorder=2)
        axes.scatter(lams[int(row.argmax())], row.max(), s=14, color="#8C8C8C", zorder=3, linewidths=0)
    axes.plot(lams, table.mean(0), color=INK, linewidth=2.0, marker="o", markersize=4, zorder=4)
    for name in learned:
        axes.axhline(
            summary.schedules[name].test_accuracy_mean, color=look[name].colour, linewidth=2.0, zorder=3
        )
    handles = [
        Line2D([], [], color=INK, marker="o", markersize=4, linewidth=2.0, label="constant λ, mean over tasks"),
        Line2D([], [], color="#C4C4C4", marker="o", markersize=4, markerfacecolor="#8C8C8C",
               markeredgewidth=0, label="one task, and its best constant"),
        *(
            Line2D([], [], color=look[name].colour, linewidth=2.0, label=f"{name}, mean over tasks")
            for name in learned
        ),
    ]  # fmt: skip
    figure.legend(
        handles=handles, frameon=False, fontsize=8, loc="outside lower center", ncols=min(3, len(handles))
    )
    axes.set_xscale("log")
    axes.set_xlabel("constant λ (log scale)", fontsize=9, color=INK)
    axes.set_ylabel("test accuracy (%)", fontsize=9, color=INK)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return figure
