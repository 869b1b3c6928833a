"""The main figure: every schedule against the best single constant."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lambda_rl.agents.comparison.figures.looks import Look, looks
from lambda_rl.agents.comparison.results import (
    BEST_SINGLE_HINDSIGHT,
    CONSTANT,
    LEARNED,
    MEAN_CONSTANT,
    NO_PENALTY,
    ScheduleSummary,
    Summary,
)
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import GREY, INK, dress, new_figure


def differences(comparison: Comparison) -> Figure:
    """Every schedule's mean difference to the best single constant with its 95% interval, and what it costs."""
    summary = comparison.summary
    items = _shown(summary)[::-1]
    look = looks(summary)
    figure = new_figure(7.2, 0.34 * len(items) + 1.0)
    axes = figure.subplots()
    dress(axes, "x")
    axes.axvline(0, color=GREY, linestyle=":", linewidth=1.4)
    for place, (name, item) in enumerate(items):
        _line(axes, place, item, look[name])
    axes.set_yticks(range(len(items)), [name for name, _ in items])
    for label, (_, item) in zip(axes.get_yticklabels(), items, strict=True):
        label.set_fontweight("bold" if item.kind == LEARNED else "normal")
    axes.set_ylim(-0.6, len(items) - 0.4)
    axes.set_xlabel(
        "test accuracy minus the best single constant's (points), 95 % interval", fontsize=9, color=INK
    )
    return figure


def _shown(summary: Summary) -> list[tuple[str, ScheduleSummary]]:
    """All but constants that are nobody's choice; a constant at random is off the scale in most suites."""
    left_out = {BEST_SINGLE_HINDSIGHT, MEAN_CONSTANT, summary.best_single_constant}
    return [
        (name, item)
        for name, item in summary.schedules.items()
        if name not in left_out and (item.kind != CONSTANT or name == NO_PENALTY)
    ]


def _line(axes: Axes, place: int, item: ScheduleSummary, look: Look) -> None:
    axes.hlines(place, *item.ci95, color=look.colour, linewidth=2.4 if look.learned else 1.5)
    axes.scatter(
        item.difference_mean, place, s=60 if look.learned else 30, color=look.colour, edgecolors="white",
        linewidths=0.6, zorder=4,
    )  # fmt: skip
    runs = item.inner_runs
    axes.annotate(
        f"{item.difference_mean:+.2f}   {runs} run{'s' if runs > 1 else ''}", (1.01, place),
        xycoords=("axes fraction", "data"), va="center", fontsize=8, color=INK,
    )  # fmt: skip
