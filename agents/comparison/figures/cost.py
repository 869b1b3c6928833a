"""The first figure: what a schedule reaches, and what one result costs a user."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

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
    ORACLE,
)
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import INK, dress, new_figure

_LABEL = 0.155  # inches between labels
_REACH = 2.5  # how far below the best single constant a schedule is drawn at its place, in units of the span above it


def cost(comparison: Comparison, width: float) -> Figure:
    """Test accuracy against inner runs for one result  (in order, not to scale); bars are intervals of policies."""
    shown = [
        item
        for item in comparison.evidence.standings
        if item.name not in (BEST_SINGLE_HINDSIGHT, MEAN_CONSTANT)
        and item.kind != ABLATION
        and (item.kind != CONSTANT or item.name == NO_PENALTY)
    ]
    columns: dict[int, list[Standing]] = {}
    for item in shown:
        columns.setdefault(item.inner_runs, []).append(item)
    runs = sorted(columns)
    height = max(3.0, 1.3 + _LABEL * max(map(len, columns.values())))
    figure = new_figure(width, height)
    axes = figure.subplots()
    dress(axes)
    base = comparison.evidence.standing(BEST_SINGLE).accuracy
    low, high = _ends(shown, base)
    look = looks(comparison.summary)
    for place, number in enumerate(runs):
        _column(axes, place, columns[number], look, low, (high - low) * _LABEL / (height - 1.0))
    axes.plot(range(len(runs)), _best_so_far(columns, runs), color=INK, alpha=0.25, linewidth=1.2, zorder=1)
    axes.set_xlim(-0.25, len(runs) - (0.15 if width > 5 else 0.05))
    axes.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    axes.xaxis.set_major_locator(FixedLocator(list(range(len(runs)))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticklabels([f"{number:,} run{'s' if number > 1 else ''}" for number in runs])
    axes.set_xlabel("inner runs that one result costs a user", fontsize=9, color=INK)
    axes.set_ylabel("test accuracy (%)", fontsize=9, color=INK)
    return figure


def _bar(item: Standing) -> tuple[float, float]:
    """The interval of the difference to the best single constant, about the accuracy."""
    low, high = (item.accuracy + end - item.against.difference for end in item.against.interval)
    return low, high


def _ends(shown: Sequence[Standing], base: float) -> tuple[float, float]:
    """Of the axis: a much worse schedule must not squeeze all others; it is drawn as a triangle at the lower end."""
    values = [item.accuracy for item in shown]
    span = max(max(values) - base, 0.5)
    bars = [end for item in shown if item.learned for end in _bar(item) if math.isfinite(end)]
    return max(min(values), min([base - _REACH * span, *bars])), max([*values, *bars])


def _best_so_far(columns: dict[int, list[Standing]], runs: Sequence[int]) -> list[float]:
    """What a user reaches at each cost or less; nobody can follow the oracle."""
    best, found = -math.inf, []
    for number in runs:
        best = max([best, *(item.accuracy for item in columns[number] if item.name != ORACLE)])
        found.append(best)
    return found


def _column(
    axes: Axes, place: int, items: Sequence[Standing], look: dict[str, Look], low: float, gap: float
) -> None:  # fmt: skip
    heights = np.array([max(item.accuracy, low) for item in items])
    for item, label in zip(items, _apart(heights, gap, low), strict=True):
        mine = look_of(item, look)
        height, outside = max(item.accuracy, low), item.accuracy < low
        words = f"{item.name}: {item.accuracy:.2f} %, {item.inner_runs} inner runs"
        if item.learned and np.isfinite(item.against.interval).all():
            bar = axes.vlines(place, *_bar(item), color=mine.colour, linewidth=2.4, alpha=0.7, zorder=3)
            tip(bar, words, item.name)
        point = axes.scatter(
            place, height, s=80 if mine.learned else 34, marker="v" if outside else mine.marker,
            facecolors="none" if outside or item.name == ORACLE else mine.colour,
            edgecolors=mine.colour if outside or item.name == ORACLE else "white", linewidths=0.8,
            zorder=5 if mine.learned else 4,
        )  # fmt: skip
        tip(point, words, item.name)
        axes.plot(
            [place + 0.03, place + 0.1, place + 0.13], [height, label, label], color=mine.colour, linewidth=0.6,
            alpha=0.6, zorder=2,
        )  # fmt: skip
        note = " (bound)" if item.name == ORACLE else ""
        text = axes.text(
            place + 0.15, label, f"{item.name}{note}  {item.accuracy:.1f}", va="center", fontsize=7.5, color=INK,
            fontweight="bold" if mine.learned else "normal",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.4},
        )  # fmt: skip
        tip(text, words, item.name)


def _apart(heights: np.ndarray, gap: float, low: float) -> np.ndarray:
    """Places of labels, from the highest down, at least a gap apart and none below the axis."""
    places = heights.astype(float).copy()
    for index in range(1, len(places)):
        places[index] = min(places[index], places[index - 1] - gap)
    for index in range(len(places) - 1, -1, -1):
        least = low if index == len(places) - 1 else places[index + 1] + gap
        places[index] = max(places[index], least)
    return places
