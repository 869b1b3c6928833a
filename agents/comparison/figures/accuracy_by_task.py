"""The same difference, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lambda_rl.agents.baselines import GRID_SEARCH
from lambda_rl.agents.comparison.figures.looks import Look, looks
from lambda_rl.agents.comparison.results import BEST_SINGLE, HAND_DESIGNED, LEARNED, ORACLE
from lambda_rl.agents.comparison.statistics import Array, mean_interval
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import GREY, INK, dress, new_figure


def accuracy_by_task(comparison: Comparison) -> Figure:
    """Difference in test accuracy to the best single constant, by task; intervals of the learned ones over seeds.

    An open triangle at the left edge is a schedule whose mean lies further left.
    """
    results, summary = comparison.results, comparison.summary
    tasks, learned, look = list(summary.tasks), summary.of_kind(LEARNED), looks(summary)
    shown = [*summary.of_kind(HAND_DESIGNED), GRID_SEARCH, ORACLE]
    base = results.scores(BEST_SINGLE)
    differences = {name: results.scores(name) - base for name in [*shown, *learned]}
    means = {name: difference.mean(1) for name, difference in differences.items()}
    low, high = _low_end(means, learned), max(0.0, *(float(mean.max()) for mean in means.values()))
    places = np.arange(len(tasks))[::-1].astype(float)

    figure = new_figure(7.8, 0.42 * len(tasks) + 1.9)
    axes = figure.subplots()
    dress(axes, "x")
    for place in places[::2]:
        axes.axhspan(place - 0.5, place + 0.5, color="#F6F6F6", zorder=0)
    axes.axvline(0, color=GREY, linestyle=":", linewidth=1.4, zorder=1)
    for name in shown:
        _points(axes, name, means[name], places, low, look[name])
    for index, name in enumerate(learned):
        offset = 0.16 * (index - (len(learned) - 1) / 2)
        _intervals(axes, name, differences[name], places - offset, look[name])
    axes.set_yticks(places, tasks)
    axes.set_ylim(-0.6, len(tasks) - 0.4)
    axes.set_xlabel("test accuracy minus the best single constant's (points)", fontsize=9, color=INK)
    axes.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    handles, labels = axes.get_legend_handles_labels()
    order = [*range(len(shown), len(labels)), *range(len(shown))]
    figure.legend(
        [handles[i] for i in order], [labels[i] for i in order], loc="outside lower center", frameon=False, fontsize=8,
        ncols=4,
    )  # fmt: skip
    return figure


def _points(axes: Axes, name: str, mean: Array, places: Array, low: float, look: Look) -> None:
    outside = mean < low
    axes.scatter(
        np.full(outside.sum(), low), places[outside], s=30, marker="<", facecolors="none", edgecolors=look.colour,
        zorder=3,
    )  # fmt: skip
    axes.scatter(
        np.where(outside, np.nan, mean), places, s=70 if look.marker == "*" else 26, marker=look.marker,
        color=look.colour, linewidths=0, alpha=0.9, zorder=3, label=name,
    )  # fmt: skip


def _intervals(axes: Axes, name: str, difference: Array, places: Array, look: Look) -> None:
    ends = np.array([mean_interval(row) for row in difference])
    axes.hlines(places, ends[:, 0], ends[:, 1], color=look.colour, linewidth=1.8, zorder=4)
    axes.scatter(
        difference.mean(1), places, s=48, color=look.colour, edgecolors="white", linewidths=0.7, zorder=5, label=name
    )  # fmt: skip


def _low_end(means: Mapping[str, Array], learned: Sequence[str]) -> float:
    """Left end of the axis: all learned means lie on it; a much worse schedule must not squeeze all others."""
    values = np.concatenate([np.ravel(mean) for mean in means.values()])
    own = [float(means[name].min()) for name in learned]
    return min(0.0, -0.5, *own, float(np.quantile(values, 0.1)))
