"""``label_noise.png``: κ over the run on tasks that differ in label noise alone, beside the oracle's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lambda_rl.agents.foreign.page import LABEL_NOISE, shown, who_looks
from lambda_rl.agents.foreign.rows import Row
from lambda_rl.agents.foreign.summary import ForeignSummary
from lambda_rl.agents.presenting.style import INK, PALETTE, dress, new_figure


def label_noise(rows: Sequence[Row], summary: ForeignSummary) -> Figure | None:
    """A panel for each policy and the gap rule; a line is a geometric mean over seeds, a dashed one the best constant.

    Args:
        rows: of the runs.
        summary: of the same; says which constant is best.

    Returns:
        None if none of the tasks is there.
    """
    oracle = {task.name: task.oracle_kappa for task in summary.tasks}
    noises = {noise: name for noise, name in LABEL_NOISE.items() if name in oracle}
    moving = [
        name
        for name in who_looks(summary)
        if set(noises.values()) & summary.contestants[name].mean_kappa.keys()
    ]
    if not moving:
        return None
    figure = new_figure(4.0 * len(moving), 3.2)
    panels = figure.subplots(1, len(moving), sharey=True, squeeze=False)[0]
    for axes, who in zip(panels, moving, strict=True):
        for colour, (noise, name) in zip(PALETTE, noises.items(), strict=False):
            found = [row.kappas for row in rows if (row.task, row.contestant) == (name, who) and row.kappas]
            _line(axes, found, f"{100 * noise:.0f} % wrong labels", colour)
            axes.axhline(max(oracle[name], 1e-2), color=colour, linestyle="--", linewidth=1)
        axes.set_yscale("log")
        axes.set_title(shown(who).strip("`"), color=INK, fontsize=9)
        axes.set_xlabel("share of the run", color=INK, fontsize=8)
        dress(axes)
    panels[0].set_ylabel("κ (dashed: best constant)", color=INK, fontsize=8)
    panels[-1].legend(fontsize=7, frameon=False)
    return figure


def _line(axes: Axes, found: Sequence[tuple[float, ...]], label: str, colour: str) -> None:
    if found:
        means = mean_trajectory(found)
        axes.step(np.arange(len(means)) / len(means), means, where="post", color=colour, label=label)


def mean_trajectory(found: Sequence[tuple[float, ...]]) -> NDArray[np.float64]:
    """κ of each decision, the geometric mean over runs whose schedules decided as often as the first."""
    runs = [run for run in found if len(run) == len(found[0])]
    return np.exp(np.log(np.maximum(runs, 1e-9)).mean(0))
