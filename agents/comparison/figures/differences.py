"""Every schedule against the best single constant."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lambda_rl.agents.comparison.evidence import Standing
from lambda_rl.agents.comparison.figures.looks import Look, look_of, looks
from lambda_rl.agents.comparison.figures.svg import tip
from lambda_rl.agents.comparison.results import (
    ABLATION,
    BEST_SINGLE,
    BEST_SINGLE_HINDSIGHT,
    CONSTANT,
    MEAN_CONSTANT,
    NO_PENALTY,
)
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import GREY, INK, dress, new_figure

_REACH = 3.0  # how far to the left a schedule is drawn at its place, in units of the best difference
_COLUMNS = 38.0, 68.0  # right edges of the two columns of numbers, in points right of the axes


def differences(comparison: Comparison, width: float) -> Figure:
    """Every schedule's mean difference to the best single constant with its 95 % interval, and what it costs."""
    items = _shown(comparison)[::-1]
    look = looks(comparison.summary)
    figure = new_figure(width, 0.3 * len(items) + 1.1)
    axes = figure.subplots()
    dress(axes, "x")
    axes.axvline(0, color=GREY, linestyle=":", linewidth=1.4)
    low = _low_end(items)
    for place, item in enumerate(items):
        _line(axes, place, item, look_of(item, look), low)
    axes.set_xlim(left=low - 0.05 * (axes.get_xlim()[1] - low))
    axes.set_yticks(range(len(items)), [item.name for item in items])
    for label, item in zip(axes.get_yticklabels(), items, strict=True):
        label.set_fontweight("bold" if item.learned else "normal")
        label.set_fontsize(8 if width > 5 else 7)
    axes.set_ylim(-0.6, len(items) - 0.4)
    for edge, head in zip(_COLUMNS, ("points", "runs"), strict=True):
        axes.annotate(
            head, (1.0, 1.0), xycoords="axes fraction", xytext=(edge, 3), textcoords="offset points", ha="right",
            va="bottom", fontsize=8, color=GREY,
        )  # fmt: skip
    what = "test accuracy minus the best single constant's (points), 95 % interval"
    axes.set_xlabel(
        what if width > 5 else what.replace("accuracy minus", "accuracy\nminus"), fontsize=9, color=INK
    )
    return figure


def _shown(comparison: Comparison) -> list[Standing]:
    """All but the reference, and constants that are nobody's choice."""
    left_out = {BEST_SINGLE, BEST_SINGLE_HINDSIGHT, MEAN_CONSTANT}
    return [
        item
        for item in comparison.evidence.standings
        if item.name not in left_out
        and item.kind != ABLATION
        and (item.kind != CONSTANT or item.name == NO_PENALTY)
    ]


def _low_end(items: Sequence[Standing]) -> float:
    """Left end of the axis: a much worse schedule must not squeeze all others; a triangle stands at the edge for it."""
    means = [item.against.difference for item in items]
    learned = [min(item.against.difference, item.against.interval[0]) for item in items if item.learned]
    return max(min(means), min([-_REACH * max(*means, 0.5), *learned]))


def _line(axes: Axes, place: int, item: Standing, look: Look, left: float) -> None:
    difference, (low, high) = item.against.difference, item.against.interval
    words = f"{item.name}: {difference:+.2f} points [{low:+.2f}, {high:+.2f}]"
    outside = difference < left
    if high > left:
        bar = axes.hlines(
            place, max(low, left), high, color=look.colour, linewidth=2.4 if look.learned else 1.5
        )
        tip(bar, words)
    point = axes.scatter(
        max(difference, left), place, s=60 if look.learned else 30, marker="<" if outside else "o",
        facecolors="none" if outside else look.colour, edgecolors=look.colour if outside else "white",
        linewidths=0.8, zorder=4,
    )  # fmt: skip
    tip(point, words)
    points = "0.00" if abs(difference) < 0.005 else f"{difference:+.2f}".replace("-", "−")
    for edge, text in zip(_COLUMNS, (points, f"{item.inner_runs:,}"), strict=True):
        axes.annotate(
            text, (1.0, place), xycoords=("axes fraction", "data"), xytext=(edge, 0), textcoords="offset points",
            va="center", ha="right", fontsize=8, color=INK,
        )  # fmt: skip
