"""The figure of a page: κ over single runs, and below it what they came to on the way."""

from __future__ import annotations

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lambda_rl.agents.gallery.traces import Point
from lambda_rl.agents.presenting.style import GREY, INK, LEARNED_PALETTE, PALETTE, dress, new_figure

Lines = Sequence[tuple[str, Sequence[Point]]]
"""Labels and runs, the policy's first."""

_COLOURS = (LEARNED_PALETTE[0], PALETTE[0], GREY)


def figure_of(columns: Sequence[tuple[str, Lines]]) -> Figure:
    """A column for each loop.

    Args:
        columns: name of a loop, and the runs to draw of it.
    """
    figure = new_figure(max(2.6 * len(columns), 5.2), 4.2)
    grid = figure.subplots(2, len(columns), sharex=True, squeeze=False)
    for i, (title, lines) in enumerate(columns):
        top, bottom = grid[0, i], grid[1, i]
        least = min((p.kappa for _, points in lines for p in points if p.kappa > 0), default=1.0) / 3
        for colour, (label, points) in zip(_COLOURS, lines, strict=False):
            _kappa(top, points, (label, colour), least)
            _accuracy(bottom, points, colour)
        top.set_title(title, color=INK, fontsize=9)
        top.set_yscale("log")
        bottom.set_xlabel("share of the run", color=INK, fontsize=8)
        for axes in (top, bottom):
            dress(axes)
    grid[0, 0].set_ylabel("κ (decay budget)", color=INK, fontsize=8)
    grid[1, 0].set_ylabel("validation accuracy, %", color=INK, fontsize=8)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False)
    return figure


def _kappa(axes: Axes, points: Sequence[Point], look: tuple[str, str], least: float) -> None:
    """Steps; κ = 0, which an axis of decades has not, at the least that is drawn."""
    label, colour = look
    x = [point.progress for point in points]
    y = [max(point.kappa, least) for point in points]
    axes.step(x, y, where="post", color=colour, linewidth=1.6, label=label)
    held = [(at, value) for at, value, point in zip(x, y, points, strict=True) if point.held]
    if held:
        axes.scatter([at for at, _ in held], [value for _, value in held], s=14, color=colour, zorder=3)


def _accuracy(axes: Axes, points: Sequence[Point], colour: str) -> None:
    there = [(p.progress, 100 * p.val_accuracy) for p in points if not math.isnan(p.val_accuracy)]
    if there:
        axes.plot(*zip(*there, strict=True), color=colour, linewidth=1.4)
