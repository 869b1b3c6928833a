"""From a table of runs to what ``summary.json`` says: derived schedules, intervals, regret.

The table has one row per task x seed x schedule, accuracies in percent; :mod:`lambda_rl.agents.compare` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lambda_rl.agents.statistics import (
    Array,
    best_constant_per_task,
    bootstrap_interval,
    interquartile_mean,
    probability_of_improvement,
    regret,
)

ORACLE = "oracle-constant"
GRID_SEARCH = "grid-search"
BEST_SINGLE = "best-single-constant"
BEST_SINGLE_HINDSIGHT = "best-single-constant-hindsight"
MEAN_CONSTANT = "mean-constant"
NO_PENALTY = "no-penalty"

MEANING: dict[str, str] = {
    ORACLE: "the best constant for each task, chosen in hindsight on test: a bound, not a method",
    GRID_SEARCH: "for each run the constant with the best final validation accuracy: what a careful user does",
    BEST_SINGLE: "the one constant that was best on the tuning suite",
    BEST_SINGLE_HINDSIGHT: "the one constant that is best on this suite, chosen in hindsight on test",
    MEAN_CONSTANT: "mean over the grid: a constant taken at random",
    NO_PENALTY: "λ = 0",
}
"""Schedules that are not what a user would write down, in words."""

BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Plan:
    """What the rows of a table mean.

    Attributes:
        constants: names of the grid's constants, as the column ``schedule`` has them.
        best_single: name of the constant that was best on the tuning suite; empty: the one that is best in hindsight
            takes its place (which favours the constants).
        tuning_runs: schedule to inner runs that were spent on tuning it.
    """

    constants: Sequence[str]
    best_single: str = ""
    tuning_runs: Mapping[str, int] = field(default_factory=dict)


def scores_of(results: pd.DataFrame, schedule: str, column: str = "test_accuracy") -> Array:
    """One column of a schedule's rows as ``[tasks, seeds]``, tasks in order of appearance, seeds ascending.

    Raises:
        ValueError: a cell is missing or double.
    """
    rows = results[results["schedule"] == schedule]
    tasks = list(dict.fromkeys(results["task"]))
    table = [rows[rows["task"] == task].sort_values("seed")[column].to_numpy(np.float64) for task in tasks]
    expected = results[results["schedule"] == results["schedule"].iloc[0]].groupby("task").size()
    if any(len(row) != expected[task] for row, task in zip(table, tasks, strict=True)):
        raise ValueError(f"schedule {schedule} has not one run for each task and seed")
    return np.stack(table)


def add_derived(results: pd.DataFrame, plan: Plan) -> tuple[pd.DataFrame, dict[str, str], str]:
    """Adds the rows of schedules that are chosen among the constants.

    Args:
        results: rows of runs that were really done.
        plan: names the constants.

    Returns:
        The rows with those of the derived schedules, the oracle's constant for each task, and the name of the best
        single constant.
    """
    tasks = list(dict.fromkeys(results["task"]))
    tests = [scores_of(results, name) for name in plan.constants]
    oracle = {
        task: plan.constants[index] for task, index in zip(tasks, best_constant_per_task(tests), strict=True)
    }
    hindsight = plan.constants[int(np.argmax([table.mean() for table in tests]))]
    best_single = plan.best_single or hindsight
    grid = results[results["schedule"].isin(plan.constants)]

    # Of equals the grid's first, so that a choice does not depend on the order of rows.
    order = {name: index for index, name in enumerate(plan.constants)}
    ranked = grid.assign(_order=grid["schedule"].map(order)).sort_values(
        ["val_accuracy", "_order"], ascending=[False, True]
    )
    searched = ranked.drop_duplicates(["task", "seed"]).drop(columns="_order")
    numbers = ["test_accuracy", "test_loss", "val_accuracy", "val_loss", "outer_accuracy", "outer_loss"]
    mean = grid.drop_duplicates(["task", "seed"]).set_index(["task", "seed"], drop=False)
    mean = mean.assign(**grid.groupby(["task", "seed"])[numbers].mean(), spec="", diverged=False)
    mean = mean.assign(final_log_lam=np.nan, mean_log_lam=np.nan).reset_index(drop=True)
    parts = {
        ORACLE: grid[grid["schedule"] == grid["task"].map(oracle)],
        GRID_SEARCH: searched,
        BEST_SINGLE: results[results["schedule"] == best_single],
        BEST_SINGLE_HINDSIGHT: grid[grid["schedule"] == hindsight],
        MEAN_CONSTANT: mean,
    }
    derived = [part.assign(schedule=name, kind="derived") for name, part in parts.items()]
    everything = pd.concat([results, *derived], ignore_index=True)
    rank = {task: index for index, task in enumerate(tasks)}
    everything = everything.assign(_task=everything["task"].map(rank))
    everything = everything.sort_values(["_task", "seed"], kind="stable").drop(columns="_task")
    return everything.reset_index(drop=True), oracle, best_single


def summarise(results: pd.DataFrame, plan: Plan) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows with the derived schedules, and the numbers of ``summary.json``.

    Args:
        results: rows of runs that were really done, columns as in ``results.csv``.
        plan: what they mean.

    Returns:
        All rows, and a mapping with ``tasks``, ``schedules``, ``best_single_constant``, ``oracle_constants``.
        Under ``schedules``, per name: ``kind``; ``spec``; ``test_accuracy_mean`` (percent); ``test_loss_mean``
        (nats); ``difference_mean`` to the best single constant (points), with ``ci95`` (paired bootstrap over
        task x seed) and ``ci95_tasks`` (over tasks, then seeds); ``regret_mean`` against the oracle constant
        (points); ``iqm`` (percent); ``probability_of_improvement`` over the best single constant;
        ``inner_runs`` that a user pays; ``tuning_runs`` spent before; ``diverged`` (share of runs); ``tasks``,
        the mean for each (percent).
    """
    everything, oracle, best_single = add_derived(results, plan)
    tasks = list(dict.fromkeys(results["task"]))
    oracle_scores, baseline = scores_of(everything, ORACLE), scores_of(everything, BEST_SINGLE)
    schedules: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(everything["schedule"]):
        rows = everything[everything["schedule"] == name]
        scores = scores_of(everything, name)
        difference = scores - baseline
        # The same resamples for every schedule: intervals then differ by the schedules only.
        runs = bootstrap_interval(difference, np.random.default_rng(BOOTSTRAP_SEED))
        clusters = bootstrap_interval(difference, np.random.default_rng(BOOTSTRAP_SEED), unit="tasks")
        specs = sorted(set(rows["spec"]))
        schedules[str(name)] = {
            "kind": str(rows["kind"].iloc[0]),
            "spec": specs[0] if len(specs) == 1 else MEANING.get(str(name), ""),
            "test_accuracy_mean": float(scores.mean()),
            "test_loss_mean": _finite_mean(rows["test_loss"]),
            "difference_mean": float(difference.mean()),
            "ci95": list(runs),
            "ci95_tasks": list(clusters),
            "regret_mean": regret(scores, oracle_scores),
            "iqm": interquartile_mean(scores),
            "probability_of_improvement": probability_of_improvement(scores, baseline),
            "inner_runs": len(plan.constants) if name in (ORACLE, GRID_SEARCH, BEST_SINGLE_HINDSIGHT) else 1,
            "tuning_runs": int(plan.tuning_runs.get(str(name), 0)),
            "diverged": float(rows["diverged"].mean()),
            "tasks": {task: float(row.mean()) for task, row in zip(tasks, scores, strict=True)},
        }
    ordered = sorted(schedules.items(), key=lambda item: -item[1]["test_accuracy_mean"])
    return everything, {
        "tasks": tasks,
        "best_single_constant": best_single,
        "best_single_constant_chosen_on": "tuning suite" if plan.best_single else "test, in hindsight",
        "oracle_constants": oracle,
        "constants": list(plan.constants),
        "schedules": dict(ordered),
    }


def _finite_mean(values: pd.Series) -> float | None:
    numbers = values.to_numpy(np.float64)
    return float(numbers.mean()) if np.isfinite(numbers).all() else None
