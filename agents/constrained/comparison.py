"""Runs of all problems, methods and libraries as rows, and what they come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from lambda_rl.agents.comparison.statistics import bootstrap_interval
from lambda_rl.agents.constrained.methods import LIBRARIES, METHODS, Trace, run_without
from lambda_rl.agents.constrained.networks import Floor, Recall
from lambda_rl.agents.constrained.problems import Box, Flat, NoisyBox, Problem, Quadratic

_KINDS: tuple[type[Problem], ...] = (Quadratic, Box, Flat, NoisyBox, Floor, Recall)
PROBLEMS = {kind.name: kind for kind in _KINDS}
NONE = "none"
"""Method and library of a run without constraints."""

EVERY = 2
"""Steps from one row of a history to the next."""

OURS, THEIRS = "lambda-rl", "cooper"
SAME = 1e-6
"""Ends of intervals that differ by less are the same: where all seeds agree, an interval has no width."""

Mean = tuple[float, float, float]


@dataclass(frozen=True)
class Cell:
    """One problem solved by one method.

    Attributes:
        problem: name.
        method: name.
        objective: mean over seeds and its 95 % interval, by library.
        violation: the same.
        within: whether each library's mean of each lies in the other's interval; None with one library.
    """

    problem: str
    method: str
    objective: dict[str, Mean]
    violation: dict[str, Mean]
    within: bool | None


def measured(
    problems: Sequence[str], libraries: Sequence[str], seeds: int
) -> Iterator[tuple[dict[str, Any], pd.DataFrame | None]]:
    """Each run as it is done.

    Args:
        problems: names.
        libraries: names.
        seeds: 0 … ``seeds`` - 1; the same problems, first weights and minibatches for all.

    Yields:
        A row of the table of runs and, of seed 0 and not of Cooper, the run's history.
    """
    for name in problems:
        for seed in range(seeds):
            runs = [(NONE, NONE), *((method, library) for method in METHODS for library in libraries)]
            for method, library in runs:
                problem = PROBLEMS[name](seed)
                trace = (
                    run_without(problem) if method == NONE else LIBRARIES[library](problem, METHODS[method])
                )
                score = problem.score()
                row = {"problem": name, "method": method, "library": library, "seed": seed, **vars(score)}
                row["multiplier"] = trace[-1][1]
                kept = seed == 0 and library != THEIRS
                yield row, _history(name, method, trace) if kept else None


def _history(problem: str, method: str, trace: Trace) -> pd.DataFrame:
    table = pd.DataFrame(trace, columns=["violation", "multiplier"])
    named = table.assign(problem=problem, method=method, step=range(1, len(trace) + 1))
    return named[["problem", "method", "step", "violation", "multiplier"]].iloc[::EVERY]


def cells(rows: pd.DataFrame) -> list[Cell]:
    """What the runs come to, in the order in which they were done."""
    found = []
    for (problem, method), group in rows.groupby(["problem", "method"], sort=False):
        by_library = {str(name): runs for name, runs in group.groupby("library", sort=False)}
        objective = {name: _mean(runs["objective"]) for name, runs in by_library.items()}
        violation = {name: _mean(runs["violation"]) for name, runs in by_library.items()}
        within = None
        if {OURS, THEIRS} <= by_library.keys():
            within = all(_agree(means[OURS], means[THEIRS]) for means in (objective, violation))
        found.append(Cell(str(problem), str(method), objective, violation, within))
    return found


def _mean(values: Any) -> Mean:
    table = np.asarray(values, np.float64).reshape(1, -1)
    low, high = bootstrap_interval(table, np.random.default_rng(0))
    return float(table.mean()), low, high


def _agree(one: Mean, other: Mean) -> bool:
    return all(b[1] - SAME <= a[0] <= b[2] + SAME for a, b in ((one, other), (other, one)))
