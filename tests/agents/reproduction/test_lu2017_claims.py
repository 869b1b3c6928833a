"""Gains and verdicts on made-up runs whose answers are known: each verdict of each claim can be reached."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lambda_rl.agents.reproduction.lu2017 import gains
from lambda_rl.agents.reproduction.lu2017.experiments import (
    FIGURES,
    Cell,
    Policies,
    figure_cells,
    merge,
    stage_decisions,
)
from lambda_rl.agents.reproduction.lu2017.findings.claims import CLAIMS, findings
from lambda_rl.agents.reproduction.lu2017.findings.verdicts import HELD, IN_PART, NOT_HELD, Finding, Part
from lambda_rl.agents.reproduction.lu2017.gains import Estimate
from lambda_rl.agents.reproduction.lu2017.settings import BUDGETS, ZERO_FACTORS

BUDGET = dataclasses.replace(
    BUDGETS["smoke"], widths=(8, 16, 32), iterations=(6, 20, 60), seeds=5, cnn_epochs=6
)
CELLS = [
    cell
    for cell in merge([cell for figure in FIGURES for cell in figure_cells(figure, BUDGET, Policies())])
    if not cell.variation  # claims are about the main set-up
]

Model = Callable[[Cell, str], Any]


def runs(
    accuracy: Model,
    curve: Model = lambda cell, name: 40.0,
    zero: Model = lambda cell, name: 0.1,
    revived: Model = lambda cell, name: 0.9,
) -> pd.DataFrame:
    """A table of runs: what each schedule gets in each cell, the same noise for all schedules of a seed, and a little
    of its own.
    """
    rows = []
    for cell in CELLS:
        for number, plan in enumerate(cell.plans):
            for seed in range(BUDGET.seeds):
                rng = np.random.default_rng([seed, number, len(cell.name)])
                value = accuracy(cell, plan.name) + [3.0, -2.0, 0.0, 1.0, -2.0][seed] + 0.02 * rng.normal()
                decisions = cell.task.decisions
                line = np.broadcast_to(curve(cell, plan.name), decisions) + 0.01 * rng.normal(size=decisions)
                row = {
                    "cell": cell.name, "variation": cell.variation, "network": cell.task.network,
                    "penalty": cell.task.penalty, "width": cell.task.width, "iterations": cell.iterations,
                    "schedule": plan.name, "seed": seed, "test_accuracy": value, "val_accuracy": value,
                    "curve": list(line), "zero": None, "revived": None,
                }  # fmt: skip
                if cell.watched:
                    after = decisions - stage_decisions(cell.task)[0] + 1
                    share = [zero(cell, plan.name) + 0.001 * seed] * (decisions + 1)
                    back = [revived(cell, plan.name) + 0.001 * seed] * after
                    row["zero"] = {str(factor): share for factor in ZERO_FACTORS}
                    row["revived"] = {str(factor): back for factor in ZERO_FACTORS}
                rows.append(row)
    return pd.DataFrame(rows)


def finding(key: str, table: pd.DataFrame) -> Finding:
    figure = {"a": "1", "b": "1", "c": "2", "d": "3", "e": "4"}.get(key, "8")
    (found,) = (item for item in findings(table, BUDGET, [figure]) if item.key == key)
    return found


def doublings(cell: Cell) -> float:
    return float(np.log2(cell.task.width / 8))


def lists(**values: Any) -> Model:
    """Accuracy 40 for all, but for the schedules named (underscores for dashes); a value may depend on the cell."""

    def accuracy(cell: Cell, name: str) -> float:
        value = values.get(name.partition(":")[0].replace("-", "_"), 0.0)
        return 40.0 + float(value(cell) if callable(value) else value)

    return accuracy


def nonconvex(value: float | Callable[[Cell], float]) -> Callable[[Cell], float]:
    """The value under L½, and 0 elsewhere."""
    return lambda cell: 0.0 if cell.task.penalty != "l0.5" else value(cell) if callable(value) else value


def early(cell: Cell) -> float:
    return {6: 2.0, 20: 1.0, 60: 0.0}.get(cell.iterations, 0.0)


CASES: dict[str, list[tuple[str, Model]]] = {
    "a": [
        (HELD, lists(pull_down=early)),
        (IN_PART, lists(pull_down=1.0)),  # a gain that does not shrink
        (IN_PART, lists(pull_down=lambda c: -2.0 + (4.0 if c.iterations == 6 and c.task.width == 8 else 0.0))),
        (NOT_HELD, lists()),
        (NOT_HELD, lists(pull_down=lambda c: early(c) - 3.0)),  # shrinks, but is no gain
    ],
    "b": [
        (HELD, lists(pull_down=doublings)),
        (IN_PART, lists(pull_down=lambda c: doublings(c) * (1.0 if c.iterations == 6 else -1.0))),
        (NOT_HELD, lists(pull_down=1.0)),
    ],
    "c": [
        (HELD, lists(pull_up=-1.0)),
        (IN_PART, lists(pull_up=lambda c: -1.0 if c.task.width == 8 else 1.0)),
        (NOT_HELD, lists(pull_up=0.5)),
    ],
    "d": [
        (HELD, lists(gap=lambda c: 3.0 - doublings(c))),
        (IN_PART, lists(gap=lambda c: 1.0 + doublings(c))),  # helps, more so with more units
        (NOT_HELD, lists(gap=-1.0)),
    ],
    "f": [
        (HELD, lists(pull_down=nonconvex(lambda c: -1 - doublings(c)), pull_up=nonconvex(lambda c: -1 - doublings(c)))),
        (IN_PART, lists(pull_down=nonconvex(-2.0), pull_up=nonconvex(-2.0))),
        (IN_PART, lists(pull_down=nonconvex(1.0), pull_up=nonconvex(-2.0))),  # for pull-up alone
        (NOT_HELD, lists(pull_down=nonconvex(1.0), pull_up=nonconvex(1.0))),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "verdict", "accuracy"), [(key, *case) for key, cases in CASES.items() for case in cases]
)
def test_verdicts(key: str, verdict: str, accuracy: Model) -> None:
    assert finding(key, runs(accuracy)).verdict == verdict


@pytest.mark.parametrize(
    ("verdict", "lead"),
    [
        (HELD, [4, 4, 3, 3, 2, 2, 2, 1]),
        (IN_PART, [3, 3, 3, 3, 3, 3, 3, 3]),  # ahead, but the difference does not close
        (NOT_HELD, [-0.1, -0.1, 0, 0, 1, 1, 2, 2]),
        (NOT_HELD, [-1, -1, -1, -1, 0, 0, 0, 0]),
    ],
)
def test_verdicts_of_figure_4(verdict: str, lead: list[float]) -> None:
    rise = np.array([20, 24, 28, 31, 34, 36, 38, 39], np.float64)

    def curve(cell: Cell, name: str) -> np.ndarray | float:
        return (
            rise + (np.array(lead) if name.startswith("gap") else 0.0) if cell.task.network == "cnn3" else 0.0
        )

    assert finding("e", runs(lists(), curve)).verdict == verdict


def test_numbers_of_figure_4() -> None:
    rise = np.array([20, 24, 28, 31, 34, 36, 38, 40], np.float64)

    def curve(cell: Cell, name: str) -> np.ndarray | float:
        return np.minimum(rise + 6.2, 41) if name.startswith("gap") else rise

    lead, closes, sooner, *_ = finding("e", runs(lists(), curve)).parts
    assert lead.estimate.mean == pytest.approx(6.2, abs=0.05)
    assert closes.estimate.mean == pytest.approx(6.2 - (3 + 1) / 2, abs=0.05)  # of 8 intervals a third is 2
    assert sooner.unit == "epochs"
    assert sooner.estimate.mean == pytest.approx(
        3 * 6 / 8
    )  # the 5th of 8 intervals in place of the 8th; 6 epochs


@pytest.mark.parametrize(
    ("verdict", "share"),
    [
        (HELD, {"l0.5": 0.8, "l1": 0.5, "l2": 0.1}),
        (IN_PART, {"l0.5": 0.8, "l1": 0.1, "l2": 0.5}),
        (NOT_HELD, {"l0.5": 0.4, "l1": 0.5, "l2": 0.1}),
    ],
)
def test_verdicts_on_sparsity(verdict: str, share: dict[str, float]) -> None:
    table = runs(lists(), zero=lambda cell, name: share[cell.task.penalty])
    assert finding("g", table).verdict == verdict


def test_sparsity_that_costs_too_much_does_not_count() -> None:
    """Only constants within 2 points of no penalty are taken; what the strongest reaches is told beside it."""

    def accuracy(cell: Cell, name: str) -> float:
        return 40.0 - (10.0 if name == "constant:3" and cell.task.penalty == "l0.5" else 0.0)

    def zero(cell: Cell, name: str) -> float:
        return 0.95 if name == "constant:3" and cell.task.penalty == "l0.5" else 0.2

    parts = finding("g", runs(accuracy, zero=zero)).parts
    assert parts[0].estimate.mean == pytest.approx(0, abs=0.1)
    assert parts[2].estimate.mean == pytest.approx(75, abs=0.1)
    assert not parts[2].counts


@pytest.mark.parametrize(
    ("verdict", "back", "revived"),
    [
        (HELD, 0.1, -1.0),  # of a loss of 4, 3 are regained
        (IN_PART, 0.1, -3.0),  # 1 of 4
        (IN_PART, 0.8, -1.0),  # they come back by themselves
        (NOT_HELD, 0.1, -4.0),
    ],
)
def test_verdicts_on_the_hypothesis(verdict: str, back: float, revived: float) -> None:
    table = runs(
        lists(pull_down=nonconvex(-4.0), pull_down_revived=nonconvex(revived)),
        revived=lambda cell, name: back if cell.task.penalty == "l0.5" else 0.95,
    )
    found = finding("h", table)
    assert found.verdict == verdict
    assert found.parts[0].estimate.mean == pytest.approx(revived + 4.0, abs=0.05)
    assert found.parts[1].estimate.mean == pytest.approx(50 - 100 * back, abs=0.5)


def test_every_claim_has_a_test_that_reaches_each_verdict() -> None:
    keys = [item.key for item in findings(runs(lists()), BUDGET, FIGURES)]
    assert keys == list("abcdefgh")
    assert set(CASES) == set(keys) - set("egh")
    assert all({verdict for verdict, _ in cases} == {HELD, IN_PART, NOT_HELD} for cases in CASES.values())
    assert set(CLAIMS) == set(FIGURES)


# ---- the parts


def test_a_verdict_needs_whole_intervals() -> None:
    def made(*parts: tuple[float, bool], cells: tuple[float, ...] = ()) -> Finding:
        return Finding(
            "x",
            "1",
            "",
            tuple(Part("", Estimate(low + 1, low, low + 2), counts=counts) for low, counts in parts),
            {f"cell {i}": Estimate(low + 1, low, low + 2) for i, low in enumerate(cells)},
        )

    assert made((0.1, True), (0.1, True)).verdict == HELD
    assert made((0.1, True), (-9.0, False)).verdict == HELD  # told only
    assert made((0.1, True), (-0.1, True)).verdict == IN_PART
    assert made((-0.1, True), (0.1, True)).verdict == NOT_HELD  # a trend of an effect that is not there
    assert made((-0.1, True), cells=(-5.0, 0.1)).verdict == IN_PART
    assert made((np.nan, True)).verdict == NOT_HELD
    assert made((1.0, True)).where == ""
    found = made((-0.1, True), cells=(-5.0, 0.1, -1.0))
    assert found.where == "for it in 1 of 3 cells (cell 1), against it in 1 of 3 cells (cell 0)"


def test_intervals_are_over_seeds() -> None:
    """Cells are averaged within a seed first: a seed's own luck does not become sure by being counted in many cells."""
    luck = np.array([1.0, -1.0, 2.0, -2.0, 0.0])
    one, many = gains.estimate(luck), gains.estimate(np.tile(luck, (50, 1)))
    assert (one.low, one.high) == (many.low, many.high)
    assert one.high == pytest.approx(2.776 * luck.std(ddof=1) / 5**0.5, rel=1e-3)
    wide = gains.estimate(luck, comparisons=10)
    assert wide.low < one.low
    assert not one.above
    assert not one.below


def cell_table() -> pd.DataFrame:
    """Two constants, two seeds: validation likes one, test the other."""
    rows = [
        ("constant:3", 0, 30.0, 50.0),
        ("constant:3", 1, 35.0, 40.0),
        ("constant:0", 0, 40.0, 45.0),
        ("constant:0", 1, 31.0, 42.0),
        ("pull-down", 0, 41.0, 0.0),
        ("pull-down", 1, 31.0, 0.0),
    ]
    return pd.DataFrame(rows, columns=["schedule", "seed", "test_accuracy", "val_accuracy"])


def test_how_a_constant_is_chosen() -> None:
    cell = cell_table()
    assert gains.chosen_constants(cell) == ["constant:3", "constant:0"]
    assert gains.best_constant(cell).tolist() == [30.0, 31.0]
    assert gains.chosen_constants(cell, "hindsight") == ["constant:0", "constant:0"]
    assert gains.gain(cell, "pull-down").tolist() == [11.0, 0.0]
    assert gains.gain(cell, "pull-down", "hindsight").tolist() == [1.0, 0.0]
    assert gains.gain(cell, "pull-down", "constant:3").tolist() == [11.0, -4.0]
    with pytest.raises(KeyError, match="no runs of pull-up"):
        gains.gain(cell, "pull-up")


def test_slope_per_doubling() -> None:
    values = np.array([[1.0, 0.0], [3.0, 0.0], [5.0, 0.0]])  # widths by seeds
    assert gains.slopes(values, (25, 50, 100)).tolist() == pytest.approx([2.0, 0.0])
    assert gains.slopes(values, (10, 40, 160)).tolist() == pytest.approx([1.0, 0.0])
    assert gains.slopes(np.stack([values, -values]), (25, 50, 100)).shape == (2, 2)


def test_time_to_reach() -> None:
    curve = np.array([[1.0, 3.0, 2.0], [1.0, 1.0, 1.0], [np.nan, np.nan, np.nan]])
    times = np.array([0.5, 1.0, 1.5])
    assert gains.time_to_reach(curve, np.array([2.0, 2.0, 2.0]), times).tolist() == [1.0, 1.5, 1.5]


def test_missing_cells_and_traces_are_named() -> None:
    table = runs(lists())
    with pytest.raises(KeyError, match="width 99"):
        gains.select(table, width=99)
    unwatched = gains.select(table, width=8, iterations=6)
    with pytest.raises(KeyError, match="not followed"):
        gains.trace(unwatched, "pull-down", "zero", 0.1)
