"""Performance profiles: how often a schedule comes how near to the oracle constant."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from lambda_rl.agents.baselines import GRID_SEARCH
from lambda_rl.agents.comparison.evidence import performance_profile, profile_band
from lambda_rl.agents.comparison.figures.looks import looks
from lambda_rl.agents.comparison.figures.svg import legend_entry, tip
from lambda_rl.agents.comparison.results import BEST_SINGLE, HAND_DESIGNED, LEARNED, NO_PENALTY, ORACLE
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.presenting.style import INK, dress, new_figure

MOST_LINES = 4  # of hand-designed schedules, the best ones


def profiles(comparison: Comparison, width: float) -> Figure:
    """Share of runs that are above the task's oracle constant, minus so many points (Agarwal 2021, section 4.2)."""
    results, summary = comparison.results, comparison.summary
    oracle = results.scores(ORACLE).mean(1)[:, None]
    shown = [
        *summary.of_kind(LEARNED),
        *summary.of_kind(HAND_DESIGNED)[:MOST_LINES],
        GRID_SEARCH,
        BEST_SINGLE,
    ]
    shown = [name for name in [*shown, NO_PENALTY] if name in summary.schedules]
    losses = {name: oracle - results.scores(name) for name in shown}
    worst = float(np.quantile(np.concatenate([losses[name].ravel() for name in shown[:-1]]), 0.97))
    best = float(min(loss.min() for loss in losses.values()))
    grid = np.linspace(best, max(worst, best + 1.0), 101)
    figure = new_figure(width, 3.4 if width > 5 else 4.2)
    axes = figure.subplots()
    dress(axes)
    look, labels = looks(summary), {}
    for name in shown:
        mine = look[name]
        share = performance_profile(-losses[name], -grid)
        style = ":" if name == BEST_SINGLE else "--" if name == NO_PENALTY else "-"
        (line,) = axes.plot(
            grid, 100 * share, style, color=mine.colour, linewidth=2.4 if mine.learned else 1.3, label=name,
            zorder=5 if mine.learned else 3,
        )  # fmt: skip
        within = 100 * performance_profile(-losses[name], np.array([-1.0]))[0]
        tip(
            line,
            f"{name}: {within:.0f} % of the runs lose less than 1 point against the oracle constant",
            name,
        )
        labels[name] = name
        if mine.learned:
            low, high = profile_band(-losses[name], -grid, np.random.default_rng(0))
            band = axes.fill_between(grid, 100 * low, 100 * high, color=mine.colour, alpha=0.13, linewidth=0)
            tip(band, "", name)
    between = " " if width > 5 else "\n"
    axes.set_xlabel(f"points below the oracle constant{between}of the task, at most", fontsize=9, color=INK)
    axes.set_ylabel("share of runs (%)", fontsize=9, color=INK)
    axes.set_xlim(grid[0], grid[-1])
    axes.set_ylim(0, 101)
    legend = figure.legend(loc="outside lower center", frameon=False, fontsize=8, ncols=4 if width > 5 else 2)
    legend_entry(legend, labels)
    return figure
