"""``at_a_glance.png``: why λ has to fit the run, what one run with the policy comes to, and what it did."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lambda_rl.agents.foreign.figure import mean_trajectory
from lambda_rl.agents.foreign.rows import Row
from lambda_rl.agents.foreign.summary import ForeignSummary
from lambda_rl.agents.presenting.style import GREY, INK, LEARNED_PALETTE, dress, new_figure

TASKS = {
    "lu-two-layers": "CIFAR-10, set-up of Lu (2017)",
    "mnist1d-mlp-noisy": "MNIST-1D, wrong labels",
    "digits-noisy": "digits, wrong labels",
    "cancer-noisy": "a small table, wrong labels",
}
"""Tasks whose best constants lie far apart, and what a reader calls them."""

CONSTANT = "kappa-"
NONE_AT = 0.03
"""Where no penalty is drawn on the logarithmic axis."""


def at_a_glance(rows: Sequence[Row], summary: ForeignSummary, policy: str) -> Figure | None:
    """Left: points below the best constant κ, by constant, and the policy's; right: κ over the policy's run.

    Args:
        rows: of the runs.
        summary: of the same.
        policy: whose runs are the stars.

    Returns:
        None if a task or the policy's runs on it are missing.
    """
    learned = {name: [row for row in rows if (row.task, row.contestant) == (name, policy)] for name in TASKS}
    if not set(TASKS) <= {task.name for task in summary.tasks} or not all(learned.values()):
        return None
    figure = new_figure(9.6, 3.7)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    for colour, (name, called) in zip(LEARNED_PALETTE, TASKS.items(), strict=True):
        curve = _curve(rows, name)
        best = max(curve, key=curve.__getitem__)
        trajectory = mean_trajectory([row.kappas for row in learned[name]])
        middle = float(np.exp(np.log(trajectory).mean()))
        lost = float(np.mean([row.test_accuracy for row in learned[name]])) - curve[best]
        left.plot(
            list(curve), [one - curve[best] for one in curve.values()], color=colour, marker=".", label=called
        )
        left.plot([middle], [lost], color=colour, **_STAR, zorder=3)
        right.step(np.arange(len(trajectory)) / len(trajectory), trajectory, where="post", color=colour)
        for axes in (left.axvline, right.axhline):
            axes(best, color=colour, linestyle=":", linewidth=1.2)
    left.plot([], [], color=GREY, **_STAR, label="the policy, in 1 run")
    left.plot([], [], color=GREY, linestyle=":", label="best of 11 constants, by test")
    _words(
        left,
        "No constant fits all runs",
        "constant κ (decay budget)",
        "test accuracy, against the best constant",
    )
    _words(right, f"What {policy} does in one run", "share of the run", "κ")
    left.set(xscale="log", ylim=(-16, 1.5), xticks=[NONE_AT, 0.1, 1, 10, 100])
    left.set_xticklabels(["none", "0.1", "1", "10", "100"])
    right.set_yscale("log")
    left.legend(fontsize=7.5, frameon=False, loc="lower left")
    return figure


_STAR: dict[str, Any] = {
    "marker": "*", "markersize": 14, "markeredgecolor": "white", "linestyle": "none",
}  # fmt: skip


def _words(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, color=INK, fontsize=10, loc="left")
    axes.set_xlabel(across, color=INK, fontsize=9)
    axes.set_ylabel(up, color=INK, fontsize=9)
    dress(axes)


def _curve(rows: Sequence[Row], task: str) -> dict[float, float]:
    """Mean test accuracy by constant κ, in order."""
    found: dict[float, list[float]] = defaultdict(list)
    for row in rows:
        if row.task == task and row.contestant.startswith(CONSTANT):
            found[float(row.contestant.removeprefix(CONSTANT)) or NONE_AT].append(row.test_accuracy)
    return {kappa: float(np.mean(found[kappa])) for kappa in sorted(found)}
