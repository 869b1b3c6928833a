"""Parts of the reproduction of Lu (2017): cells, store, weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from lambda_rl.agents.reproduction.lu2017.experiments import (
    FIGURES,
    Cell,
    Plan,
    Policies,
    figure_cells,
    merge,
    stage_decisions,
)  # fmt: skip
from lambda_rl.agents.reproduction.lu2017.settings import BUDGETS, VARIATIONS, ZERO_FACTOR, Budget, mlp_task
from lambda_rl.agents.reproduction.lu2017.sparsity import Redraw, WeightWatch
from lambda_rl.agents.reproduction.lu2017.store import Store
from lambda_rl.schedules.text_form import parse_schedule

SMOKE = BUDGETS["smoke"]


# ---- cells


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=list(BUDGETS))
def test_cells_of_every_budget(budget: Budget) -> None:
    """Shared cells are the same task; a list changes λ exactly where a stage ends; all constants run as long."""
    cells = merge([cell for figure in FIGURES for cell in figure_cells(figure, budget, Policies())])
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        names = [plan.name for plan in cell.plans]
        assert len(set(names)) == len(names)
        for plan in cell.plans:
            if plan.spec.startswith("steps:"):
                assert cell.task.steps == 4 * cell.iterations
                schedule = parse_schedule(plan.spec)(total_steps=cell.task.steps)
                values = [schedule.value]
                for k in range(1, cell.task.decisions):
                    step = cell.task.boundary(k)
                    before = values[-1]
                    values.append(schedule.step(progress=step / cell.task.steps))
                    assert (values[-1] != before) == (k in stage_decisions(cell.task))
                    assert k not in stage_decisions(cell.task) or step % cell.iterations == 0
                assert len(set(values)) == 4
    column = [
        c for c in cells if c.iterations == budget.column and c.task.network == "mlp" and not c.variation
    ]
    assert {c.task.penalty for c in column} == {"l2", "l1", "l0.5"}
    assert all(c.watched == (c in column) for c in cells)


def test_figure_1_has_the_constants_of_the_list() -> None:
    cell = figure_cells("1", SMOKE, Policies(l2=""))[0]
    assert {plan.name: plan.spec for plan in cell.plans} == {
        "constant:3": "constant:6", "constant:2": "constant:4", "constant:1": "constant:2", "constant:0": "constant:0",
        "pull-down": "steps:6,4,2,0",
    }  # fmt: skip
    varied = [c.variation for c in figure_cells("1", SMOKE, Policies()) if c.variation]
    assert varied == list(SMOKE.variations)
    assert set(varied) <= {item.name for item in VARIATIONS}
    specs = {
        plan.name: plan.spec
        for figure in ("2", "3", "4", "8")
        for cell in figure_cells(figure, SMOKE, Policies("learned:x"))
        for plan in cell.plans
        if cell.task.penalty == "l2"
    }
    assert specs["pull-up"] == "steps:0,2,4,6"
    assert specs["gap:3"] == "gap:initial=6"
    assert specs["gap:0.03"] == "gap:initial=0.06"
    assert specs["learned"] == "learned:x"
    half = {plan.name: plan for plan in figure_cells("8", SMOKE, Policies())[0].plans}
    assert half["pull-up"].spec == "steps:0,0.0005,0.001,0.0015"
    assert half["pull-down"].spec == half["pull-down-revived"].spec == "steps:0.0015,0.001,0.0005,0"
    assert {name: plan.redraw for name, plan in half.items() if plan.redraw} == {
        "pull-down-redrawn": "initial",
        "pull-down-revived": "living",
    }
    with pytest.raises(ValueError, match="unknown figure '5'"):
        figure_cells("5", SMOKE, Policies())


def test_two_tasks_of_one_name_are_refused() -> None:
    one = Cell("a", mlp_task(SMOKE, 8, 6), (Plan("x", "constant:1"),), 6)
    with pytest.raises(ValueError, match="two different tasks are called a"):
        merge([one, dataclasses.replace(one, task=mlp_task(SMOKE, 16, 6))])


# ---- store


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    cell = Cell("one", mlp_task(SMOKE, 8, 6), (Plan("constant:3", "constant:6"),), 6)
    row = {"schedule": "constant:3", "spec": "constant:6", "seed": 0, "value": float("nan"), "list": [1 / 3]}
    store.add(cell, row)
    assert not (tmp_path / "cells").exists()  # buffered
    store.flush()
    fresh = Store(tmp_path)
    assert fresh.rows(cell) == {("constant:3", 0): {**row, "value": None, "list": [0.333333]}}
    assert fresh.complete(cell, 1)
    assert not fresh.complete(cell, 2)
    other = dataclasses.replace(cell, plans=(Plan("constant:3", "constant:3"),))
    with pytest.raises(ValueError, match=r"one\.json: constant:3 was run as constant:6"):
        Store(tmp_path).rows(other)
    (tmp_path / "cells" / "one.json").write_text("{")
    with pytest.raises(ValueError, match=r"one\.json: not a JSON file"):
        Store(tmp_path).rows(cell)


# ---- weights


class FakeNetwork:
    penalised = ("fc1.weight", "fc2.weight")


class FakeRun:
    """What a watch looks at: weights of 2 units, deviation of the initial ones given."""

    def __init__(self) -> None:
        self.network, self.task, self.decision = FakeNetwork(), mlp_task(SMOKE, 2, 6), 0
        generator = torch.Generator().manual_seed(0)
        self.params = {
            "fc1.weight": 1e-4 * torch.randn(2, 768, generator=generator),
            "fc1.bias": torch.zeros(2),
            "fc2.weight": 1e-2 * torch.randn(10, 2, generator=generator),
        }

    def set(self, decision: int, values: float) -> None:
        """All weights to a number of their layer's initial deviations, but the second unit's incoming: those to 5."""
        self.decision = decision
        self.params["fc1.weight"].fill_(values * 1e-4)
        self.params["fc1.weight"][1] = 5e-4
        self.params["fc2.weight"].fill_(values * 1e-2)


def test_weights_at_zero_and_those_that_come_back() -> None:
    watch, run = WeightWatch((1, 4), factors=(0.1, 1.0)), FakeRun()
    share = (768 + 20) / (2 * 768 + 20)  # all weights but the second unit's incoming ones
    watch.on_interval(run)  # type: ignore[arg-type]
    for decision, values in ((1, 0.05), (2, 0.5), (3, 3.0)):
        run.set(decision, values)
        watch.on_interval(run)  # type: ignore[arg-type]
    trace = watch.trace
    assert trace.zero[0.1][0] == pytest.approx(0.08, abs=0.03)  # of a normal
    assert trace.zero[1.0][0] == pytest.approx(0.68, abs=0.05)
    assert trace.zero[0.1][1:] == pytest.approx([share, 0, 0])
    assert trace.zero[1.0][1:] == pytest.approx([share, share, 0])
    assert trace.revived[0.1] == [0, 1, 1]
    assert trace.revived[1.0] == [0, 0, 1]
    assert trace.dead[1:] == [0.5, 0, 0]


def test_only_weights_at_zero_are_drawn_anew_and_only_when_asked() -> None:
    """As the initial weights, as the living ones (of which the first layer has the second unit's), not at all."""
    kinds: tuple[Redraw, ...] = ("initial", "living", "")
    watches = [WeightWatch((1, 4), kind, 7) for kind in kinds]
    runs = [FakeRun() for _ in range(3)]
    for watch, run in zip(watches, runs, strict=True):
        watch.on_interval(run)  # type: ignore[arg-type]
        run.set(1, 0.01)
        run.params["fc1.weight"][1, ::2] *= -1  # ±5 deviations
        watch.on_interval(run)  # type: ignore[arg-type]
    small, large, left = (run.params for run in runs)
    assert (left["fc1.weight"][0].abs() < ZERO_FACTOR * 1e-4).all()
    for drawn, deviation in ((small, 1e-4), (large, 5e-4)):
        assert torch.equal(drawn["fc1.weight"][1], left["fc1.weight"][1])
        assert drawn["fc1.weight"][0].std() == pytest.approx(deviation, rel=0.15)
        assert drawn["fc2.weight"].std() == pytest.approx(1e-2, rel=0.6)  # nothing lives there
    assert watches[0].trace.zero == watches[1].trace.zero == watches[2].trace.zero  # measured before the draw
