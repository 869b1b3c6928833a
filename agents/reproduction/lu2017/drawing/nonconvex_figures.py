"""Figures 5 to 8: the penalties themselves, schedules under L½, and the sparsity that each penalty reaches."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from lambda_rl.agents.presenting.style import INK, LEARNED_PALETTE, dress, new_figure
from lambda_rl.agents.reproduction.lu2017 import gains
from lambda_rl.agents.reproduction.lu2017.drawing.plotting import (
    COLOURS,
    CONSTANT,
    LEARNED_COLOUR,
    MARKERS,
    Line,
    legend,
    sensitivity,
    width_figure,
)
from lambda_rl.agents.reproduction.lu2017.experiments import LEARNED, PULL_DOWN, PULL_UP, REDRAWN, REVIVED
from lambda_rl.agents.reproduction.lu2017.findings.nonconvex_claims import trace_by_width
from lambda_rl.agents.reproduction.lu2017.gains import by_width
from lambda_rl.agents.reproduction.lu2017.settings import (
    INIT_STD,
    NONCONVEX_VARIATIONS,
    PAPER_CONSTANTS,
    ZERO_FACTOR,
    Budget,
)
from lambda_rl.agents.reproduction.lu2017.tables import has
from lambda_rl.penalties import SMOOTHING, penalty_gradient, penalty_terms

PENALTY_COLOURS = {"l2": "#0072B2", "l1": "#E69F00", "l0.5": "#D55E00"}
PENALTY_NAMES = {"l2": "L2: w²", "l1": "L1: |w|", "l0.5": "L½: |w|^½"}


def figures_5_to_7() -> Figure:
    """The three penalties near 0, and their pull on a weight, from the code that training uses."""
    figure = new_figure(8.6, 3.5)
    left, right = figure.subplots(1, 2)
    near = torch.linspace(-0.1, 0.1, 2001, dtype=torch.float64)
    sizes = torch.logspace(-5, 0, 501, dtype=torch.float64)
    for kind, colour in PENALTY_COLOURS.items():
        factor = 2.0 if kind == "l2" else 1.0  # the paper's L2 is w², this project's ½w²
        loss, pull = factor * penalty_terms(near, kind), factor * penalty_gradient(sizes, kind)
        left.plot(
            near.numpy(), loss.numpy(), color=colour, linewidth=1.8, label=PENALTY_NAMES[kind], zorder=3
        )
        right.plot(sizes.numpy(), pull.numpy(), color=colour, linewidth=1.8, zorder=3)
    right.set_xscale("log")
    right.set_yscale("log")
    left.set_xticks([-0.1, -0.05, 0, 0.05, 0.1])
    for where, text, height in ((SMOOTHING, "smoothing of L½", 0.02), (INIT_STD, "initial weights", 0.09)):
        right.axvline(where, color="#999999", linestyle=":", linewidth=1.2, zorder=1)
        right.annotate(
            text, (where, height), xycoords=("data", "axes fraction"), xytext=(3, 0), textcoords="offset points",
            fontsize=7, color=INK,
        )  # fmt: skip
    for axes, across, up in (
        (left, "weight", "penalty of a weight"),
        (right, "size of a weight", "pull towards 0, dR/d|w|"),
    ):
        dress(axes)
        axes.set_xlabel(across, fontsize=9, color=INK)
        axes.set_ylabel(up, fontsize=9, color=INK)
    legend(left)
    return figure


def figure_8(runs: pd.DataFrame, budget: Budget) -> Figure:
    """Accuracy change of schedules under L½ by width, beside L2."""

    def gain(label: str, name: str, penalty: str, colour: str, marker: str = "o", style: str = "-") -> Line:
        values = by_width(runs, budget, partial(gains.gain, schedule=name), penalty)
        return Line(label, values, colour, marker, style)

    lines = [
        gain("pull-down, L½", PULL_DOWN, "l0.5", COLOURS[PULL_DOWN], MARKERS[PULL_DOWN]),
        gain("pull-up, L½", PULL_UP, "l0.5", COLOURS[PULL_UP], MARKERS[PULL_UP]),
        gain("pull-down, L½, zeros redrawn small", REDRAWN, "l0.5", LEARNED_PALETTE[1], "D", "--"),
        gain("pull-down, L½, zeros redrawn large", REVIVED, "l0.5", LEARNED_PALETTE[2], "s", "--"),
        gain("pull-down, L2", PULL_DOWN, "l2", CONSTANT, MARKERS[PULL_DOWN], ":"),
        gain("pull-up, L2", PULL_UP, "l2", CONSTANT, MARKERS[PULL_UP], ":"),
    ]
    if has(runs, LEARNED, penalty="l0.5", iterations=budget.column):
        lines.append(gain("learned, L½", LEARNED, "l0.5", LEARNED_COLOUR))
    label = "test accuracy minus best constant's (points)"
    return width_figure(budget, lines, label, size=(8.2, 4.0), loc="center left", bbox_to_anchor=(1.01, 0.5))


def figure_8_sparsity(runs: pd.DataFrame, budget: Budget) -> Figure:
    """Left: zeros against accuracy, by penalty. Right: zeros over a pull-down run, and those that came back."""
    figure = new_figure(9.6, 3.9)
    left, right = figure.subplots(1, 2)
    constants = [f"constant:{c:g}" for c in PAPER_CONSTANTS]
    for penalty, colour in PENALTY_COLOURS.items():
        share = [trace_by_width(runs, budget, penalty, name, "zero")[..., -1].mean() for name in constants]
        accuracy = [
            by_width(runs, budget, partial(gains.scores, schedule=name), penalty).mean() for name in constants
        ]
        left.plot(accuracy, share, "o-", color=colour, label=PENALTY_NAMES[penalty], zorder=3)
        zero, revived = (
            trace_by_width(runs, budget, penalty, PULL_DOWN, kind).mean((0, 1))
            for kind in ("zero", "revived")
        )
        times = np.linspace(0, 1, len(zero))
        right.plot(times, zero, color=colour, linewidth=1.8, zorder=3)
        right.plot(times[-len(revived) :], revived, "--", color=colour, linewidth=1.5, zorder=3)
    for axes in (left, right):
        dress(axes)
    left.set_xlabel("test accuracy of a constant, mean over widths (%)", fontsize=9, color=INK)
    left.set_ylabel(f"weights below {ZERO_FACTOR:g} initial deviations (%)", fontsize=9, color=INK)
    right.plot([], [], color=INK, label="at zero")
    right.plot([], [], "--", color=INK, label="of those after stage 1: came back")
    right.set_xlabel("share of a pull-down run", fontsize=9, color=INK)
    right.set_ylabel("share of weights (%)", fontsize=9, color=INK)
    legend(left)
    legend(right, loc="upper right", bbox_to_anchor=(1.0, 0.87))
    return figure


def figure_8_sensitivity(runs: pd.DataFrame, budget: Budget) -> Figure:
    """Pull-down and pull-up under L½ with weaker lists, and with the paper's own."""
    names = [("", "as in the figure"), *((item.name, item.text) for item in NONCONVEX_VARIATIONS)]
    return sensitivity(runs, budget, "l0.5", names)
