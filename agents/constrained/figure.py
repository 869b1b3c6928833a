"""Figures: how violation and multiplier move, and both libraries side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from lambda_rl.agents.constrained.comparison import NONE, OURS, THEIRS, Cell
from lambda_rl.agents.presenting.style import GREY, INK, LEARNED_PALETTE, PALETTE, dress, new_figure

WORDS = {
    NONE: "no constraint",
    "plain": "dual ascent",
    "momentum": "momentum 0.5",
    "pi": "PI, kp = 10",
    "augmented": "augmented",
}
TITLES = {
    "flat": "w ≤ u, loss hardly curved",
    "floor": "output ≥ 3 (minibatches)",
    "recall": "recall of one class ≥ 0.9",
}
_NARROW = 0.01
"""The least that an axis spans."""
_COLOURS = {
    NONE: GREY, "plain": PALETTE[0], "momentum": PALETTE[1], "pi": LEARNED_PALETTE[0], "augmented": PALETTE[4],
}  # fmt: skip


def histories(history: pd.DataFrame) -> Figure | None:
    """Violation and multiplier over the steps, a column a problem; None without a problem that has a title."""
    names = [name for name in TITLES if name in set(history["problem"])]
    if not names:
        return None
    figure = new_figure(3.4 * len(names) + 0.4, 4.8)
    axes = figure.subplots(2, len(names), sharex="col", squeeze=False)
    for column, name in enumerate(names):
        for method, lines in history[history["problem"] == name].groupby("method", sort=False):
            look: dict[str, Any] = {"color": _COLOURS[str(method)], "lw": 1.1, "label": WORDS[str(method)]}
            if str(method) != NONE or name != "flat":  # there the loss alone goes far off
                axes[0, column].plot(lines["step"], lines["violation"], **look)
            if str(method) != NONE:
                axes[1, column].plot(lines["step"], lines["multiplier"], **look)
        axes[0, column].axhline(0, color=INK, lw=0.8)
        if name == "floor":
            axes[0, column].set_ylim(-0.03, 0.25)  # the first outputs are near 0, and 3 too low
        axes[0, column].set_title(TITLES[name], fontsize=9, color=INK)
        axes[1, column].set_xlabel("step", fontsize=8, color=INK)
        for one in axes[:, column]:
            dress(one)
    axes[0, 0].set_ylabel("violation g (≤ 0 where it holds)", fontsize=8, color=INK)
    axes[1, 0].set_ylabel("multiplier λ", fontsize=8, color=INK)
    handles = {line.get_label(): line for axis in axes[0] for line in axis.get_lines()}
    shown = [handles[word] for word in WORDS.values() if word in handles]
    figure.legend(handles=shown, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def libraries(cells: Sequence[Cell]) -> Figure | None:
    """Objective and violation of both libraries with their intervals; None where there is only one."""
    both = [cell for cell in cells if cell.within is not None]
    if not both:
        return None
    names = list(dict.fromkeys(cell.problem for cell in both))
    figure = new_figure(1.9 * len(names) + 0.6, 4.6)
    axes = figure.subplots(2, len(names), squeeze=False)
    for column, name in enumerate(names):
        own = [cell for cell in both if cell.problem == name]
        for row, what in enumerate(("objective", "violation")):
            axis = axes[row, column]
            for library, colour, shift in ((OURS, LEARNED_PALETTE[0], -0.14), (THEIRS, PALETTE[0], 0.14)):
                means = [getattr(cell, what)[library] for cell in own]
                bars = [[mean - low for mean, low, _ in means], [high - mean for mean, _, high in means]]
                places = [place + shift for place in range(len(own))]
                axis.errorbar(
                    places, [mean for mean, *_ in means], bars, fmt="o", ms=3.5, lw=1.2, color=colour, label=library
                )  # fmt: skip
            axis.set_xticks(range(len(own)), [cell.method for cell in own], rotation=60)
            low, high = axis.get_ylim()
            if high - low < _NARROW:  # else rounding errors would fill the axis
                axis.set_ylim((low + high - _NARROW) / 2, (low + high + _NARROW) / 2)
            dress(axis, "y")
        axes[0, column].set_xticklabels([])
        axes[0, column].set_title(name, fontsize=9, color=INK)
        axes[1, column].axhline(0, color=INK, lw=0.8)
    axes[0, 0].set_ylabel("objective", fontsize=8, color=INK)
    axes[1, 0].set_ylabel("largest violation", fontsize=8, color=INK)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    return figure
