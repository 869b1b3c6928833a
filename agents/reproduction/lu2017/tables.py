"""The numbers of the page, as tables of plain values: a cell is text, a number or ``[mean, low, high]``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from lambda_rl.agents.reproduction.lu2017 import gains
from lambda_rl.agents.reproduction.lu2017.experiments import LEARNED, PULL_DOWN, PULL_UP, REDRAWN, REVIVED
from lambda_rl.agents.reproduction.lu2017.findings.nonconvex_claims import trace_by_width
from lambda_rl.agents.reproduction.lu2017.gains import Estimate, by_width, estimate, gain_grid, select
from lambda_rl.agents.reproduction.lu2017.settings import (
    CNN_VARIATION,
    NONCONVEX_VARIATIONS,
    PAPER_CONSTANTS,
    VARIATIONS,
    ZERO_FACTOR,
    ZERO_FACTORS,
    Budget,
)

PENALTIES = ("l2", "l1", "l0.5")

Table = dict[str, Any]
"""``columns``: heads; ``rows``: lists as long."""


def triple(item: Estimate) -> list[float | None]:
    """An estimate as ``[mean, low, high]``; null where it is not a number."""
    return [round(v, 4) if math.isfinite(v) else None for v in (item.mean, item.low, item.high)]


def _estimated(values: np.ndarray) -> list[float | None]:
    return triple(estimate(values))


def has(runs: pd.DataFrame, schedule: str, **cell: Any) -> bool:
    """Whether the cell has runs of a schedule."""
    return schedule in set(select(runs, **cell)["schedule"])


def _grid_table(budget: Budget, grid: np.ndarray) -> Table:
    return {
        "columns": ["hidden units", *(f"{n} iterations" for n in budget.iterations)],
        "rows": [
            [width, *(_estimated(grid[i, k]) for i in range(len(budget.iterations)))]
            for k, width in enumerate(budget.widths)
        ],
    }


def _chosen(cell: pd.DataFrame) -> str:
    """Which constants validation chose, with the number of seeds."""
    names = Counter(item.partition(":")[2] for item in gains.chosen_constants(cell))
    return ", ".join(f"{lam} (×{count})" for lam, count in names.most_common())


def _sensitivity(runs: pd.DataFrame, budget: Budget, penalty: str, names: Sequence[tuple[str, str]]) -> Table:
    rows = []
    for name, text in names:
        cell = select(
            runs, penalty=penalty, width=budget.sensitivity_width, iterations=budget.sensitivity_iterations,
            variation=name,
        )  # fmt: skip
        rows.append(
            [
                text,
                _estimated(gains.best_constant(cell)),
                _chosen(cell),
                _estimated(gains.gain(cell, PULL_DOWN)),
                _estimated(gains.gain(cell, PULL_UP)),
            ]
        )
    columns = ["set-up", "best constant, accuracy", "which", "pull-down minus it", "pull-up minus it"]
    return {"columns": columns, "rows": rows}


def figure_1(runs: pd.DataFrame, budget: Budget) -> dict[str, Table]:
    """Gains over the grid, and how they depend on what the paper does not say."""
    made = {
        "pull-down": _grid_table(budget, gain_grid(runs, budget, PULL_DOWN)),
        "pull-down-hindsight": _grid_table(budget, gain_grid(runs, budget, PULL_DOWN, "hindsight")),
    }
    made["chosen"] = {
        "columns": made["pull-down"]["columns"],
        "rows": [
            [w, *(_chosen(select(runs, width=w, iterations=n)) for n in budget.iterations)]
            for w in budget.widths
        ],
    }
    if has(runs, LEARNED):
        made["learned"] = _grid_table(budget, gain_grid(runs, budget, LEARNED))
    names = [("", "as in the figure")]
    names += [(item.name, item.text) for item in VARIATIONS if item.name in budget.variations]
    made["sensitivity"] = _sensitivity(runs, budget, "l2", names)
    return made


def _width_table(
    runs: pd.DataFrame,
    budget: Budget,
    columns: Sequence[tuple[str, Callable[[pd.DataFrame], np.ndarray]]],
    penalty: str = "l2",
) -> Table:
    values = [by_width(runs, budget, measure, penalty) for _, measure in columns]
    return {
        "columns": ["hidden units", *(head for head, _ in columns)],
        "rows": [[width, *(_estimated(item[k]) for item in values)] for k, width in enumerate(budget.widths)],
    }


def figure_2(runs: pd.DataFrame, budget: Budget) -> dict[str, Table]:
    """Accuracies of pull-down and pull-up by width."""
    columns: list[tuple[str, Callable[[pd.DataFrame], np.ndarray]]] = [
        ("pull-down", partial(gains.scores, schedule=PULL_DOWN)),
        ("pull-up", partial(gains.scores, schedule=PULL_UP)),
        ("best constant", gains.best_constant),
    ]
    if has(runs, LEARNED, iterations=budget.column):
        columns.append((LEARNED, partial(gains.scores, schedule=LEARNED)))
    columns.append(("pull-down minus pull-up", partial(gains.gain, schedule=PULL_DOWN, against=PULL_UP)))
    return {"widths": _width_table(runs, budget, columns)}


def figure_3(runs: pd.DataFrame, budget: Budget) -> dict[str, Table]:
    """Gains of the gap rule by width."""
    columns: list[tuple[str, Callable[[pd.DataFrame], np.ndarray]]] = [
        ("best constant, accuracy", gains.best_constant),
        ("gap rule minus the λ it starts from", gains.gap_gain),
        ("gap rule minus best constant", gains.gap_best),
    ]
    if has(runs, LEARNED, iterations=budget.column):
        columns.append(("learned minus best constant", partial(gains.gain, schedule=LEARNED)))
    return {"widths": _width_table(runs, budget, columns)}


def figure_4(runs: pd.DataFrame, _: Budget) -> dict[str, Table]:
    """Every schedule of the convolutional network, early and at the end; with Adam, and with SGD."""
    return {
        "schedules": _schedules(select(runs, network="cnn3")),
        "sensitivity": _schedules(select(runs, network="cnn3", variation=CNN_VARIATION.name)),
    }


def _schedules(cell: pd.DataFrame) -> Table:
    rows = []
    for name in dict.fromkeys(cell["schedule"]):
        curve = gains.curves(cell, name)
        third = max(curve.shape[1] // 3, 1)
        measures = [curve[:, :third].mean(1), curve[:, -1], gains.scores(cell, name), gains.gain(cell, name)]
        rows.append([name, *map(_estimated, measures)])
    columns = [
        "schedule", "validation accuracy, mean of the first third", "at the end", "test accuracy",
        "minus best constant",
    ]  # fmt: skip
    return {"columns": columns, "rows": rows}


def nonconvex_widths(runs: pd.DataFrame, budget: Budget) -> Table:
    """Losses under L½ by width, of accuracies alone."""
    columns: list[tuple[str, Callable[[pd.DataFrame], np.ndarray]]] = [
        ("best constant, accuracy", gains.best_constant),
        ("pull-down minus it", partial(gains.gain, schedule=PULL_DOWN)),
        ("pull-up minus it", partial(gains.gain, schedule=PULL_UP)),
        ("pull-down, zeros redrawn small, minus it", partial(gains.gain, schedule=REDRAWN)),
        ("pull-down, zeros redrawn large, minus it", partial(gains.gain, schedule=REVIVED)),
    ]
    if has(runs, LEARNED, penalty="l0.5", iterations=budget.column):
        columns.append(("learned minus it", partial(gains.gain, schedule=LEARNED)))
    return _width_table(runs, budget, columns, "l0.5")


def figure_8(runs: pd.DataFrame, budget: Budget) -> dict[str, Table]:
    """Losses under L½ by width, zeros by penalty, revival, and how it depends on the scale of the list."""
    names = [("", "as in the figure"), *((item.name, item.text) for item in NONCONVEX_VARIATIONS)]
    return {
        "widths": nonconvex_widths(runs, budget),
        "sparsity": _sparsity(runs, budget),
        "revival": _revival(runs, budget),
        "sensitivity": _sensitivity(runs, budget, "l0.5", names),
    }


def _sparsity(runs: pd.DataFrame, budget: Budget) -> Table:
    rows = []
    for penalty in PENALTIES:
        for name in [*(f"constant:{c:g}" for c in PAPER_CONSTANTS), PULL_DOWN, PULL_UP]:
            accuracy = by_width(runs, budget, partial(gains.scores, schedule=name), penalty)
            shares = [
                trace_by_width(runs, budget, penalty, name, "zero", factor)[..., -1]
                for factor in ZERO_FACTORS
            ]
            rows.append([penalty, name, _estimated(accuracy), *map(_estimated, shares)])
    heads = [f"below {factor:g} σ, %" for factor in ZERO_FACTORS]
    return {"columns": ["penalty", "schedule", "test accuracy", *heads], "rows": rows}


def _revival(runs: pd.DataFrame, budget: Budget) -> Table:
    """Pull-down: zeros when the first stage ends, and what comes back."""
    rows = []
    for penalty in PENALTIES:
        for factor in ZERO_FACTORS:
            zero = trace_by_width(runs, budget, penalty, PULL_DOWN, "zero", factor)
            revived = trace_by_width(runs, budget, penalty, PULL_DOWN, "revived", factor)
            early = zero[..., gains.stage_ends(zero.shape[-1])[0]]
            judged = " (judged by)" if factor == ZERO_FACTOR else ""
            shares = map(_estimated, (early, zero[..., -1], revived[..., -1]))
            rows.append([penalty, f"{factor:g} σ{judged}", *shares])
    columns = [
        "penalty", "zero is below", "at zero after the first stage, %", "at zero at the end, %",
        "of the first, came back by the end, %",
    ]  # fmt: skip
    return {"columns": columns, "rows": rows}


TABLES: dict[str, Callable[[pd.DataFrame, Budget], dict[str, Table]]] = {
    "1": figure_1, "2": figure_2, "3": figure_3, "4": figure_4, "8": figure_8,
}  # fmt: skip
"""By figure."""
