"""What each figure needs: cells (a task and its schedules), and the runs of a cell as jobs of the one trainer.

Figures share cells: the constants of Figure 1 are those of Figures 2, 3 and 8. A cell is run once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lambda_rl.agents.reproduction.lu2017.settings import (
    CNN_CONSTANTS,
    CNN_VARIATION,
    NONCONVEX_VARIATIONS,
    PAPER_CONSTANTS,
    STAGES,
    VARIATIONS,
    Budget,
    Variation,
    cnn_task,
    mlp_task,
    our_lam,
    varied,
)
from lambda_rl.agents.reproduction.lu2017.sparsity import Redraw
from lambda_rl.envs.tasks.task import Task

FIGURES = ("1", "2", "3", "4", "8")
"""Figures that need runs; 5 to 7 are drawn from the penalties' own formulas, with 8."""

LEARNED = "learned"
PULL_DOWN = "pull-down"
PULL_UP = "pull-up"
REDRAWN = "pull-down-redrawn"
"""Pull-down; whenever λ falls, weights at zero are drawn anew from the initial distribution."""

REVIVED = "pull-down-revived"
"""The same, but drawn as large as the layer's weights that are not at zero."""

REDRAWS: dict[str, Redraw] = {REDRAWN: "initial", REVIVED: "living"}


@dataclass(frozen=True)
class Plan:
    """A schedule in a cell.

    Attributes:
        name: ``constant:3`` and ``gap:3`` name the paper's constant, not λ of this project.
        spec: as :func:`lambda_rl.schedules.text_form.parse_schedule` takes it, with λ of this project.
        redraw: how weights at zero are drawn anew when λ falls; empty: they are not.
    """

    name: str
    spec: str
    redraw: Redraw = ""

    @property
    def shown(self) -> str:
        """The specification as results have it: without the path of a policy file."""
        return LEARNED if self.name == LEARNED else self.spec


@dataclass(frozen=True)
class Cell:
    """One task and the schedules that it is run with.

    Attributes:
        name: unique; the name of its file.
        task: without a seed.
        plans: schedules, each name once.
        iterations: per constant (epochs for the convolutional network).
        variation: its name; empty for the main set-up.
        watched: whether its weights are followed.
    """

    name: str
    task: Task
    plans: tuple[Plan, ...]
    iterations: int
    variation: str = ""
    watched: bool = False


@dataclass(frozen=True)
class Policies:
    """Specs of the learned schedules.

    Attributes:
        l2: ``learned`` for the shipped one, ``learned:FILE`` or empty for none.
        nonconvex: one that was trained with the L½ penalty, or empty.
    """

    l2: str = "learned"
    nonconvex: str = ""


def constant_plans(constants: Sequence[float], penalty: str, scale: float = 1.0) -> list[Plan]:
    """Each constant for the whole run."""
    return [Plan(f"constant:{c:g}", f"constant:{our_lam(c, penalty, scale):g}") for c in constants]


def list_plan(name: str, constants: Sequence[float], penalty: str, scale: float = 1.0) -> Plan:
    """The constants one after the other, each for an equal share."""
    values = ",".join(f"{our_lam(c, penalty, scale):g}" for c in constants)
    return Plan(name, f"steps:{values}", redraw=REDRAWS.get(name, ""))


def gap_plans(constants: Sequence[float]) -> list[Plan]:
    """The gap rule from each constant above 0, L2."""
    return [Plan(f"gap:{c:g}", f"gap:initial={our_lam(c):g}") for c in constants if c > 0]


def _learned(spec: str) -> list[Plan]:
    return [Plan(LEARNED, spec)] if spec else []


def _mlp_cell(
    budget: Budget, width: int, iterations: int, penalty: str, plans: Sequence[Plan], variation: str = ""
) -> Cell:
    task = mlp_task(budget, width, iterations, penalty)
    name = f"mlp-{penalty}-h{width}-n{iterations}" + (f"-{variation}" if variation else "")
    watched = iterations == budget.column and not variation
    return Cell(name, task, tuple(plans), iterations, variation, watched)


def _down(penalty: str, scale: float = 1.0) -> Plan:
    return list_plan(PULL_DOWN, PAPER_CONSTANTS, penalty, scale)


def _up(penalty: str, scale: float = 1.0) -> Plan:
    return list_plan(PULL_UP, PAPER_CONSTANTS[::-1], penalty, scale)


def _varied_cells(budget: Budget, penalty: str, variations: Sequence[Variation]) -> list[Cell]:
    """The set-up at the sensitivity study's size, then with one thing changed at a time."""
    cells = []
    for item in (Variation("", ""), *variations):
        plans = constant_plans(PAPER_CONSTANTS, penalty, item.scale)
        plans += [_down(penalty, item.scale), _up(penalty, item.scale)]
        cell = _mlp_cell(
            budget, budget.sensitivity_width, budget.sensitivity_iterations, penalty, plans, item.name
        )
        cells.append(replace(cell, task=varied(cell.task, item)))
    return cells


def figure_cells(figure: str, budget: Budget, policies: Policies) -> list[Cell]:
    """The cells of one figure.

    Args:
        figure: one of :data:`FIGURES`.
        budget: sizes.
        policies: the learned schedules.
    """
    constants = constant_plans(PAPER_CONSTANTS, "l2")
    learned = _learned(policies.l2)
    column = budget.column
    if figure == "1":
        plans = [*constants, _down("l2"), *learned]
        cells = [_mlp_cell(budget, w, n, "l2", plans) for n in budget.iterations for w in budget.widths]
        chosen = [item for item in VARIATIONS if item.name in budget.variations]
        return cells + _varied_cells(budget, "l2", chosen)
    if figure == "2":
        plans = [*constants, _down("l2"), _up("l2"), *learned]
        return [_mlp_cell(budget, w, column, "l2", plans) for w in budget.widths]
    if figure == "3":
        plans = [*constants, *gap_plans(PAPER_CONSTANTS), *learned]
        return [_mlp_cell(budget, w, column, "l2", plans) for w in budget.widths]
    if figure == "4":
        return _cnn_cells(budget, learned)
    if figure == "8":
        return _nonconvex_cells(budget, policies)
    raise ValueError(f"unknown figure {figure!r}; allowed are {', '.join(FIGURES)}")


def _cnn_cells(budget: Budget, learned: Sequence[Plan]) -> list[Cell]:
    task, constants = cnn_task(budget), constant_plans(CNN_CONSTANTS, "l2")
    plans = (*constants, *gap_plans(CNN_CONSTANTS), *learned)
    other = (*constants, *gap_plans(CNN_CONSTANTS[1:2]), *learned)
    return [
        Cell("cnn3-l2", task, plans, budget.cnn_epochs),
        Cell(
            f"cnn3-l2-{CNN_VARIATION.name}",
            varied(task, CNN_VARIATION),
            other,
            budget.cnn_epochs,
            CNN_VARIATION.name,
        ),
    ]


def _nonconvex_cells(budget: Budget, policies: Policies) -> list[Cell]:
    cells = []
    for penalty, more in (("l0.5", _learned(policies.nonconvex)), ("l1", []), ("l2", [])):
        plans = [*constant_plans(PAPER_CONSTANTS, penalty), _down(penalty), _up(penalty), *more]
        if penalty != "l2":  # under L2 next to nothing is at zero
            plans += [list_plan(name, PAPER_CONSTANTS, penalty) for name in REDRAWS]
        cells += [_mlp_cell(budget, w, budget.column, penalty, plans) for w in budget.widths]
    return cells + _varied_cells(budget, "l0.5", NONCONVEX_VARIATIONS)


def merge(cells: Sequence[Cell]) -> list[Cell]:
    """Each cell once, with all the schedules that any figure wants of it."""
    merged: dict[str, Cell] = {}
    for cell in cells:
        have = merged.setdefault(cell.name, cell)
        if have.task != cell.task:
            raise ValueError(f"two different tasks are called {cell.name}")
        plans = {plan.name: plan for plan in (*have.plans, *cell.plans)}
        merged[cell.name] = replace(have, plans=tuple(plans.values()))
    return list(merged.values())


def stage_decisions(task: Task) -> tuple[int, ...]:
    """After how many decisions λ of a list changes, and the run ends."""
    return tuple(task.decisions * (k + 1) // STAGES for k in range(STAGES))


def cost(task: Task) -> float:
    """About how long a run takes, in milliseconds of one CPU core; for the estimate of the time left alone."""
    pixels = (task.resolution / 16) ** 2
    if task.network == "mlp":
        return task.steps * pixels * (0.3 + 0.008 * task.width) * task.batch_size / 200
    return task.steps * pixels * 0.42 * task.width * task.batch_size / 100
