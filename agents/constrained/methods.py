"""Ways to move multipliers, and a run of each by lambda-rl and by Cooper."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from lambda_rl.agents.constrained.problems import Problem
from lambda_rl.constraints import Constraints


@dataclass(frozen=True)
class Method:
    """Settings of the dual ascent, in units of a problem's ``dual_lr``.

    Attributes:
        momentum: of the ascent.
        kp: proportional gain.
        augmented: c of the augmented Lagrangian over ``dual_lr``.
    """

    momentum: float = 0.0
    kp: float = 0.0
    augmented: float = 0.0


METHODS = {
    "plain": Method(),
    "momentum": Method(momentum=0.5),
    "pi": Method(kp=10.0),
    "augmented": Method(augmented=10.0),
}

Trace = list[tuple[float, float]]
"""Of each step the largest violation that the multipliers saw, and the largest multiplier after it."""


def run_without(problem: Problem) -> Trace:
    """Solves a problem as if it had no constraints."""
    optimizer = problem.optimizer()
    trace = []
    for _ in range(problem.steps):
        found = problem.measure()
        optimizer.zero_grad()
        found.loss.backward()
        optimizer.step()
        trace.append((found.strict.max().item(), 0.0))
    return trace


def run_ours(problem: Problem, method: Method) -> Trace:
    """Solves a problem with :class:`lambda_rl.constraints.Constraints`."""
    constraints = Constraints(
        {"g": (problem.constraints,)},
        lr=problem.dual_lr,
        momentum=method.momentum,
        kp=method.kp,
        augmented=method.augmented * problem.dual_lr,
    )
    optimizer = problem.optimizer()
    for _ in range(problem.steps):
        found = problem.measure()
        constraints.step(g=found.strict)
        loss = found.loss + constraints.penalty(g=found.violation)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return [(row["violation/g"], row["multiplier/g"]) for row in constraints.history]


def cooper_is_missing() -> str:
    """Why Cooper cannot take part; empty if it can."""
    if importlib.util.find_spec("cooper") is None:
        return "Cooper is not installed: pip install 'lambda-rl[bench]' (package cooper-optim)"
    return ""


def run_cooper(problem: Problem, method: Method) -> Trace:
    """Solves a problem with Cooper: the same steps in the same order (its AlternatingDualPrimalOptimizer)."""
    # By name, so that types are checked alike where it is not installed.
    cooper: Any = importlib.import_module("cooper")
    multiplier = cooper.multipliers.DenseMultiplier(num_constraints=problem.constraints, dtype=problem.dtype)
    formulation: Any = cooper.formulations.Lagrangian
    coefficient: Any = None
    if method.augmented:
        formulation = cooper.formulations.AugmentedLagrangian
        c = torch.tensor(method.augmented * problem.dual_lr, dtype=problem.dtype)
        coefficient = cooper.penalty_coefficients.DensePenaltyCoefficient(init=c)
    constraint = cooper.Constraint(
        constraint_type=cooper.ConstraintType.INEQUALITY,
        formulation_type=formulation,
        multiplier=multiplier,
        penalty_coefficient=coefficient,
    )

    class Constrained(cooper.ConstrainedMinimizationProblem):
        def __init__(self) -> None:
            super().__init__()
            self.g = constraint

        def compute_cmp_state(self) -> Any:
            found = problem.measure()
            state = cooper.ConstraintState(violation=found.violation, strict_violation=found.strict)
            return cooper.CMPState(loss=found.loss, observed_constraints={constraint: state})

    optimizer = cooper.optim.AlternatingDualPrimalOptimizer(
        cmp=Constrained(),
        primal_optimizers=problem.optimizer(),
        dual_optimizers=_cooper_ascent(cooper, multiplier, problem.dual_lr, method),
    )
    trace = []
    for _ in range(problem.steps):
        state = optimizer.roll().cmp_state.observed_constraints[constraint]
        trace.append((state.strict_violation.max().item(), multiplier.weight.max().item()))
    return trace


def _cooper_ascent(cooper: Any, multiplier: Any, lr: float, method: Method) -> torch.optim.Optimizer:
    if method.kp:
        # The form in which the first step answers to the violation, too; it is what the controller's equation says.
        nupi = cooper.optim.nuPIInitType.ZEROS
        kp = torch.tensor(method.kp)
        return cooper.optim.nuPI(multiplier.parameters(), lr=lr, Kp=kp, init_type=nupi, maximize=True)
    return torch.optim.SGD(multiplier.parameters(), lr=lr, momentum=method.momentum, maximize=True)


LIBRARIES: dict[str, Callable[[Problem, Method], Trace]] = {"lambda-rl": run_ours, "cooper": run_cooper}
