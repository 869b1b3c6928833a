"""Figures 1 to 4, each after the paper's, with 95 % intervals over seeds; and the list of all figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from lambda_rl.agents.presenting.style import INK, dress, new_figure, png
from lambda_rl.agents.reproduction.lu2017 import gains
from lambda_rl.agents.reproduction.lu2017.drawing.nonconvex_figures import (
    figure_8,
    figure_8_sensitivity,
    figure_8_sparsity,
    figures_5_to_7,
)
from lambda_rl.agents.reproduction.lu2017.drawing.plotting import (
    COLOURS,
    CONSTANT,
    LEARNED_COLOUR,
    MARKERS,
    Line,
    legend,
    line,
    log_ticks,
    sensitivity,
    shifts,
    width_figure,
    zero_line,
)
from lambda_rl.agents.reproduction.lu2017.experiments import LEARNED, PULL_DOWN, PULL_UP
from lambda_rl.agents.reproduction.lu2017.gains import by_width, estimate, gain_grid, select
from lambda_rl.agents.reproduction.lu2017.settings import VARIATIONS, Budget
from lambda_rl.agents.reproduction.lu2017.tables import has
from lambda_rl.files import atomic_write


def figure_1(runs: pd.DataFrame, budget: Budget) -> Figure:
    """Gain over the best constant by iterations, a line a width: pull-down, and the learned policy."""
    names = [PULL_DOWN] + ([LEARNED] if has(runs, LEARNED) else [])
    figure = new_figure(4.3 * len(names) + 0.6, 3.7)
    shades = colormaps["viridis"](np.linspace(0.05, 0.85, len(budget.widths)))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False, sharey=True)[0], names, strict=True):
        dress(axes)
        zero_line(axes)
        grid = gain_grid(runs, budget, name)
        for k, shift in enumerate(shifts(len(budget.widths))):
            line(axes, budget.iterations, grid[:, k], shades[k], f"{budget.widths[k]}", shift=shift)
        log_ticks(axes, budget.iterations, "iterations per constant")
        axes.set_title("pull-down [3, 2, 1, 0]" if name == PULL_DOWN else "learned policy", fontsize=9)
        if name == PULL_DOWN:
            axes.set_ylabel("test accuracy minus best constant's (points)", fontsize=9, color=INK)
            legend(axes, "hidden units")
    return figure


def figure_1_sensitivity(runs: pd.DataFrame, budget: Budget) -> Figure:
    """Pull-down and pull-up when one thing that the paper does not say is changed."""
    names = [("", "as in the figure")]
    names += [(item.name, item.text) for item in VARIATIONS if item.name in budget.variations]
    return sensitivity(runs, budget, "l2", names)


def figure_2(runs: pd.DataFrame, budget: Budget) -> Figure:
    """Accuracy of pull-down, pull-up, the best constant and the learned policy by width."""

    def scores(name: str, colour: str, marker: str = "o") -> Line:
        values = by_width(runs, budget, partial(gains.scores, schedule=name))
        return Line(name, values, colour, marker)

    lines = [scores(name, COLOURS[name], MARKERS[name]) for name in (PULL_DOWN, PULL_UP)]
    lines.append(Line("best constant", by_width(runs, budget, gains.best_constant), CONSTANT, "X"))
    if has(runs, LEARNED, iterations=budget.column):
        lines.append(scores(LEARNED, LEARNED_COLOUR))
    return width_figure(budget, lines, "test accuracy (%)", zero=False)


def figure_3(runs: pd.DataFrame, budget: Budget) -> Figure:
    """Gain of the gap rule by width, over the λ that it starts from and over the best constant."""
    gap, best = (by_width(runs, budget, measure) for measure in (gains.gap_gain, gains.gap_best))
    lines = [
        Line("gap rule, over the λ it starts from", gap, COLOURS["gap"], "P"),
        Line("gap rule, over the best constant", best, COLOURS["gap"], "P", "--"),
    ]
    if has(runs, LEARNED, iterations=budget.column):
        learned = by_width(runs, budget, partial(gains.gain, schedule=LEARNED))
        lines.append(Line("learned, over the best constant", learned, LEARNED_COLOUR, style="--"))
    return width_figure(budget, lines, "gain in test accuracy (points)")


def figure_4(runs: pd.DataFrame, budget: Budget) -> Figure:
    """The convolutional network over its epochs: lead of the gap rule, and the accuracies themselves."""
    cell = select(runs, network="cnn3")
    names = list(dict.fromkeys(cell["schedule"]))
    starts = [name.partition(":")[2] for name in names if name.startswith("gap:")]
    curve = {name: gains.curves(cell, name) for name in names}
    best = np.array([curve[name][seed] for seed, name in enumerate(gains.chosen_constants(cell))])
    epochs = budget.cnn_epochs * np.arange(1, best.shape[1] + 1) / best.shape[1]
    figure = new_figure(9.6, 3.9)
    left, right = figure.subplots(1, 2)
    rule = np.mean([curve[f"gap:{s}"] for s in starts], 0)
    fixed = np.mean([curve[f"constant:{s}"] for s in starts], 0)
    lead = [
        ("gap rule, over the λ it starts from", rule - fixed, COLOURS["gap"], "-"),
        ("gap rule, over the best constant", rule - best, COLOURS["gap"], "--"),
    ]
    shown = [
        ("gap rule", rule, COLOURS["gap"], "-"),
        ("the λ it starts from", fixed, COLOURS["gap"], ":"),
        ("best constant", best, CONSTANT, "-"),
    ]
    if LEARNED in curve:
        lead.append(("learned, over the best constant", curve[LEARNED] - best, LEARNED_COLOUR, "--"))
        shown.append((LEARNED, curve[LEARNED], LEARNED_COLOUR, "-"))
    for axes, lines, label in (
        (left, lead, "lead in validation accuracy (points)"),
        (right, shown, "validation accuracy (%)"),
    ):
        dress(axes)
        for text, values, colour, style in lines:
            made = [estimate(v) for v in values.T]
            axes.plot(
                epochs, [e.mean for e in made], style, color=colour, linewidth=1.8, label=text, zorder=3
            )
            low, high = [e.low for e in made], [e.high for e in made]
            axes.fill_between(epochs, low, high, color=colour, alpha=0.14, linewidth=0, zorder=2)
        axes.set_xlabel("epochs", fontsize=9, color=INK)
        axes.set_ylabel(label, fontsize=9, color=INK)
        legend(axes)
    zero_line(left)
    return figure


Draw = Callable[[pd.DataFrame, Budget], Figure]

DRAWN: dict[str, dict[str, Draw]] = {
    "1": {"figure-1": figure_1, "figure-1-sensitivity": figure_1_sensitivity},
    "2": {"figure-2": figure_2},
    "3": {"figure-3": figure_3},
    "4": {"figure-4": figure_4},
    "8": {
        "figures-5-to-7": lambda runs, budget: figures_5_to_7(),
        "figure-8": figure_8,
        "figure-8-sparsity": figure_8_sparsity,
        "figure-8-sensitivity": figure_8_sensitivity,
    },
}
"""Files by figure."""


def draw_figures(runs: pd.DataFrame, budget: Budget, figures: Sequence[str], folder: Path) -> list[Path]:
    """Draws the figures that are complete into PNG files, and returns their paths."""
    paths = []
    for number in figures:
        for name, draw in DRAWN[number].items():
            path = folder / f"{name}.png"
            atomic_write(path, png(draw(runs, budget)))
            paths.append(path)
    return paths
