"""Claims of the paper as tests on the runs, Figures 1 to 4; see :mod:`.verdicts`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pandas as pd

from lambda_rl.agents.reproduction.lu2017 import gains
from lambda_rl.agents.reproduction.lu2017.experiments import PULL_DOWN, PULL_UP
from lambda_rl.agents.reproduction.lu2017.findings.nonconvex_claims import (
    nonconvex_is_sparser,
    nonconvex_schedules_hurt,
    zeros_stay_zero,
)
from lambda_rl.agents.reproduction.lu2017.findings.verdicts import Finding, Part, cell_estimates, width_names
from lambda_rl.agents.reproduction.lu2017.gains import estimate, select
from lambda_rl.agents.reproduction.lu2017.settings import Budget


def pull_down_gains(runs: pd.DataFrame, budget: Budget) -> Finding:
    """(a) Pull-down beats the best constant at few iterations per constant, and the gain shrinks as they grow."""
    table = gains.gain_grid(runs, budget, PULL_DOWN)
    few, many = budget.iterations[0], budget.iterations[-1]
    names = [f"{w} hidden units, {n} iterations" for n in budget.iterations for w in budget.widths]
    flat = table.reshape(-1, table.shape[-1])
    hindsight = gains.gain_grid(runs, budget, PULL_DOWN, "hindsight")
    return Finding(
        "a",
        "1",
        "A pull-down schedule beats the best of its constants when there are few iterations per constant, and the "
        "gain shrinks as they grow.",
        (
            Part(
                f"gain over the best constant at {few} iterations per constant, mean over widths",
                estimate(table[0]),
            ),
            Part(f"gain at {few} iterations minus gain at {many}", estimate(table[0] - table[-1])),
            Part("gain over the best constant, mean over the whole grid", estimate(table), counts=False),
            Part(
                f"gain at {few} iterations over the constant that is best in hindsight",
                estimate(hindsight[0]),
                counts=False,
            ),
        ),
        cell_estimates(dict(zip(names, flat, strict=True))),
    )


def gain_grows_with_width(runs: pd.DataFrame, budget: Budget) -> Finding:
    """(b) The gain of pull-down grows with the number of hidden units."""
    slope = gains.slopes(gains.gain_grid(runs, budget, PULL_DOWN), budget.widths)
    names = [f"{n} iterations" for n in budget.iterations]
    return Finding(
        "b",
        "1",
        "The gain of the pull-down schedule grows with the number of hidden units.",
        (
            Part(
                "change of the gain per doubling of hidden units, mean over iterations",
                estimate(slope),
                "points per doubling",
            ),
        ),
        cell_estimates(dict(zip(names, slope, strict=True))),
    )


def down_beats_up(runs: pd.DataFrame, budget: Budget) -> Finding:
    """(c) Pull-down beats pull-up."""
    table = gains.by_width(runs, budget, partial(gains.gain, schedule=PULL_DOWN, against=PULL_UP))
    return Finding(
        "c",
        "2",
        f"A pull-down schedule does better than a pull-up schedule ({budget.column} iterations per constant).",
        (Part("pull-down minus pull-up, mean over widths", estimate(table)),),
        cell_estimates(dict(zip(width_names(budget), table, strict=True))),
    )


def gap_rule_helps(runs: pd.DataFrame, budget: Budget) -> Finding:
    """(d) The gap rule helps, less with more hidden units."""
    table = gains.by_width(runs, budget, gains.gap_gain)
    best = gains.by_width(runs, budget, gains.gap_best)
    return Finding(
        "d",
        "3",
        "On the two-layer network, adapting λ to the gap between training and validation accuracy helps, less so "
        "with more hidden units.",
        (
            Part("gain over a λ fixed where the rule starts, mean over starts and widths", estimate(table)),
            Part(
                "fall of that gain per doubling of hidden units",
                estimate(-gains.slopes(table, budget.widths)),
                "points per doubling",
            ),
            Part(
                "gain over the best constant (the paper does not say which fixed λ it compares with)",
                estimate(best),
                counts=False,
            ),
        ),
        cell_estimates(dict(zip(width_names(budget), table, strict=True))),
    )


def gap_rule_speeds_up(runs: pd.DataFrame, budget: Budget) -> Finding:
    """(e) On the convolutional network the gap rule speeds up early epochs, and the difference closes."""
    cell = select(runs, network="cnn3")
    starts = [name.partition(":")[2] for name in dict.fromkeys(cell["schedule"]) if name.startswith("gap:")]
    differences: list[np.ndarray] = []
    sooner: list[np.ndarray] = []
    sooner_than_best: list[np.ndarray] = []
    best = np.array(
        [
            gains.curves(cell, name)[seed]
            for seed, name in enumerate(gains.chosen_constants(cell))
        ]
    )  # fmt: skip
    times = budget.cnn_epochs * np.arange(1, best.shape[1] + 1) / best.shape[1]
    for start in starts:
        rule, fixed = gains.curves(cell, f"gap:{start}"), gains.curves(cell, f"constant:{start}")
        differences.append(rule - fixed)
        for reference, into in ((fixed, sooner), (best, sooner_than_best)):
            target = reference[:, -1]
            into.append(
                gains.time_to_reach(reference, target, times) - gains.time_to_reach(rule, target, times)
            )
    third = max(best.shape[1] // 3, 1)
    difference = np.stack(differences)
    early, late = difference[:, :, :third].mean(2), difference[:, :, -third:].mean(2)
    return Finding(
        "e",
        "4",
        "On the three-layer convolutional network, the adaptive rule is ahead in the early epochs, the difference "
        "closes, and the rule reaches the fixed schedule's final accuracy earlier.",
        (
            Part(
                "ahead of the λ it starts from, mean over the first third of the epochs (validation accuracy)",
                estimate(early),
            ),
            Part("lead in the first third minus lead in the last third", estimate(early - late)),
            Part(
                "epochs by which it reaches that fixed λ's final accuracy earlier",
                estimate(np.array(sooner)),
                "epochs",
            ),
            Part(
                "lead at the end of the run, on test accuracy",
                estimate(gains.gap_gain(cell)),
                counts=False,
            ),
            Part(
                "epochs by which it reaches the best constant's final accuracy earlier",
                estimate(np.array(sooner_than_best)),
                "epochs",
                counts=False,
            ),
        ),
        cell_estimates({f"start λ = {start}": line for start, line in zip(starts, early, strict=True)}),
    )


CLAIMS: dict[str, tuple[Callable[[pd.DataFrame, Budget], Finding], ...]] = {
    "1": (pull_down_gains, gain_grows_with_width),
    "2": (down_beats_up,),
    "3": (gap_rule_helps,),
    "4": (gap_rule_speeds_up,),
    "8": (nonconvex_schedules_hurt, nonconvex_is_sparser, zeros_stay_zero),
}
"""Claims by the figure whose runs they need."""


def findings(runs: pd.DataFrame, budget: Budget, figures: Sequence[str]) -> list[Finding]:
    """The findings of the figures that are complete."""
    return [claim(runs, budget) for figure in figures for claim in CLAIMS[figure]]
