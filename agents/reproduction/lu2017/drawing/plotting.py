"""What the figures of this package share: lines with intervals over seeds, axes, legends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from lambda_rl.agents.presenting.style import (
    GREY,
    INK,
    LEARNED_PALETTE,
    PALETTE,
    dress,
    new_figure,
)
from lambda_rl.agents.presenting.style import MARKERS as STYLE_MARKERS
from lambda_rl.agents.reproduction.lu2017 import gains
from lambda_rl.agents.reproduction.lu2017.experiments import PULL_DOWN, PULL_UP
from lambda_rl.agents.reproduction.lu2017.gains import estimate, select
from lambda_rl.agents.reproduction.lu2017.settings import Budget

CONSTANT = GREY
LEARNED_COLOUR = LEARNED_PALETTE[0]
COLOURS = {PULL_DOWN: PALETTE[0], PULL_UP: PALETTE[1], "gap": PALETTE[4]}
"""Of the paper's schedules; the same as in the comparison."""
MARKERS = {PULL_DOWN: STYLE_MARKERS[0], PULL_UP: STYLE_MARKERS[1]}


class Line(NamedTuple):
    """A line over the widths.

    Attributes:
        label: in the legend.
        values: ``[widths, seeds]``.
        colour: of the line.
        marker: of its points.
        style: solid, dashed or dotted, as matplotlib takes it.
    """

    label: str
    values: np.ndarray
    colour: str
    marker: str = "o"
    style: str = "-"


def zero_line(axes: Axes) -> None:
    """Where there is neither gain nor loss."""
    axes.axhline(0, color="#999999", linewidth=1.0, zorder=1)


def log_ticks(axes: Axes, values: Sequence[int], label: str) -> None:
    """A logarithmic x axis with a tick at each value that was run."""
    axes.set_xscale("log")
    axes.set_xticks(list(values))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel(label, fontsize=9, color=INK)


def line(
    axes: Axes, x: Sequence[float], values: np.ndarray, colour: object, label: str, *, marker: str = "o",
    style: str = "-", shift: float = 1.0,
) -> None:  # fmt: skip
    """Means with their intervals over seeds.

    Args:
        axes: where.
        x: ``[points]``.
        values: ``[points, seeds]``.
        colour: of the line.
        label: in the legend.
        marker: of the points.
        style: of the line.
        shift: factor on x, so that intervals do not hide each other.
    """
    made = [estimate(v) for v in values]
    mean = np.array([e.mean for e in made])
    bars = np.array([[e.mean - e.low, e.high - e.mean] for e in made]).T
    axes.errorbar(
        np.asarray(x) * shift, mean, yerr=np.nan_to_num(bars), fmt=marker, linestyle=style, color=colour,
        label=label, linewidth=1.7, markersize=5, elinewidth=1.0, capsize=2.5, zorder=3,
    )  # fmt: skip


def legend(axes: Axes, title: str = "", **place: Any) -> None:
    """A quiet legend, with handles long enough to tell a dashed line; ``place`` as matplotlib takes it."""
    axes.legend(
        frameon=False, fontsize=8, title=title or None, title_fontsize=8, alignment="left", handlelength=3.2, **place
    )  # fmt: skip


def shifts(count: int) -> list[float]:
    """Factors on x for so many lines, a few percent around 1."""
    return [1.0 + 0.03 * (k - (count - 1) / 2) for k in range(count)]


def width_figure(
    budget: Budget, lines: Sequence[Line], label: str, *, size: tuple[float, float] = (5.6, 3.8), zero: bool = True,
    **place: Any,
) -> Figure:  # fmt: skip
    """Lines over the widths of the two-layer network.

    Args:
        budget: has the widths.
        lines: what is drawn.
        label: of the y axis.
        size: in inches.
        zero: whether a line at 0 is drawn.
        place: of the legend, as matplotlib takes it.
    """
    figure = new_figure(*size)
    axes = figure.subplots()
    dress(axes)
    if zero:
        zero_line(axes)
    for item, shift in zip(lines, shifts(len(lines)), strict=True):
        line(
            axes, budget.widths, item.values, item.colour, item.label, marker=item.marker, style=item.style,
            shift=shift,
        )  # fmt: skip
    log_ticks(axes, budget.widths, "hidden units")
    axes.set_ylabel(label, fontsize=9, color=INK)
    legend(axes, **place)
    return figure


def sensitivity(runs: pd.DataFrame, budget: Budget, penalty: str, names: list[tuple[str, str]]) -> Figure:
    """Gains of pull-down and pull-up, a row a variation.

    Args:
        runs: all of them.
        budget: sizes.
        penalty: of the cells.
        names: the variations' names and texts.
    """
    figure = new_figure(6.6, 0.36 * len(names) + 1.3)
    axes = figure.subplots()
    dress(axes, "x")
    axes.axvline(0, color="#999999", linewidth=1.0, zorder=1)
    for row, (name, _) in enumerate(names):
        cell = select(
            runs, penalty=penalty, width=budget.sensitivity_width, iterations=budget.sensitivity_iterations,
            variation=name,
        )  # fmt: skip
        for schedule, offset in ((PULL_DOWN, -0.12), (PULL_UP, 0.12)):
            made = estimate(gains.gain(cell, schedule))
            axes.errorbar(
                made.mean, row + offset, xerr=np.nan_to_num([[made.mean - made.low], [made.high - made.mean]]),
                fmt=MARKERS[schedule], color=COLOURS[schedule], label=schedule if row == 0 else None, capsize=2.5,
                markersize=5, zorder=3,
            )  # fmt: skip
    axes.set_yticks(range(len(names)), [text for _, text in names], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("test accuracy minus best constant's (points)", fontsize=9, color=INK)
    legend(axes)
    return figure
