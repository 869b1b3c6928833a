"""From a table of runs to what ``summary.json`` says: derived schedules, intervals, regret.

The table has one row per task x seed x schedule, accuracies in percent; :mod:`lambda_rl.agents.comparison.protocol`
makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lambda_rl.agents.baselines import GRID_SEARCH
from lambda_rl.agents.comparison.results import (
    BEST_SINGLE,
    BEST_SINGLE_HINDSIGHT,
    DERIVED,
    MEAN_CONSTANT,
    ORACLE,
    Findings,
    ScheduleSummary,
)
from lambda_rl.agents.comparison.statistics import (
    Array,
    best_constant_per_task,
    bootstrap_interval,
    interquartile_mean,
    probability_of_improvement,
    regret,
)
from lambda_rl.agents.comparison.tables import Results

MEANING: dict[str, str] = {
    ORACLE: "the best constant for each task, chosen in hindsight on test: a bound, not a method",
    GRID_SEARCH: "for each run the constant with the best final validation accuracy: what a careful user does",
    BEST_SINGLE_HINDSIGHT: "the one constant that is best on this suite, chosen in hindsight on test",
    MEAN_CONSTANT: "mean over the grid: a constant taken at random",
}
"""Of schedules that are another constant from task to task, in words."""

BOOTSTRAP_SEED = 0


@dataclass(frozen=True)
class Plan:
    """What the rows of a table mean.

    Attributes:
        constants: names of the grid's constants, as the column ``schedule`` has them.
        best_single: name of the constant that was best on the tuning suite; empty: the one that is best in hindsight
            takes its place (which favours the constants).
        tuning_runs: schedule to inner runs that were spent on tuning it.
        inner_runs: schedule to inner runs that a user pays for one result, where they are not one.
    """

    constants: Sequence[str]
    best_single: str = ""
    tuning_runs: Mapping[str, int] = field(default_factory=dict)
    inner_runs: Mapping[str, int] = field(default_factory=dict)

    def price(self, schedule: str) -> int:
        """Inner runs that a user pays for one result of a schedule."""
        if schedule in (ORACLE, BEST_SINGLE_HINDSIGHT):
            return len(self.constants)
        return int(self.inner_runs.get(schedule, 1))


def add_derived(results: Results, plan: Plan) -> tuple[Results, dict[str, str], str]:
    """Adds the rows of schedules that are chosen among the constants.

    Args:
        results: rows of contestants.
        plan: names the constants.

    Returns:
        The rows with those of the derived schedules, the oracle's constant for each task, and the name of the best
        single constant.
    """
    table, tasks = results.table, results.tasks
    tests = [results.scores(name) for name in plan.constants]
    oracle = {
        task: plan.constants[index] for task, index in zip(tasks, best_constant_per_task(tests), strict=True)
    }
    hindsight = plan.constants[int(np.argmax([scores.mean() for scores in tests]))]
    best_single = plan.best_single or hindsight
    grid = table[table["schedule"].isin(plan.constants)]
    parts = {
        ORACLE: grid[grid["schedule"] == grid["task"].map(oracle)],
        BEST_SINGLE: results.rows(best_single),
        BEST_SINGLE_HINDSIGHT: results.rows(hindsight),
        MEAN_CONSTANT: _mean_of(grid),
    }
    chosen = {name: part.assign(schedule=name, kind=DERIVED) for name, part in parts.items()}
    searched = table["kind"] == DERIVED
    # The bound first, then searches, then what is less than a search.
    everything = pd.concat([table[~searched], chosen.pop(ORACLE), table[searched], *chosen.values()])
    rank = everything["task"].map({task: index for index, task in enumerate(tasks)})
    everything = everything.assign(_task=rank).sort_values(["_task", "seed"], kind="stable")
    return Results(everything.drop(columns="_task").reset_index(drop=True)), oracle, best_single


def _mean_of(grid: pd.DataFrame) -> pd.DataFrame:
    """Rows of a constant taken at random: the mean of each number over the grid."""
    numbers = ["test_accuracy", "test_loss", "val_accuracy", "val_loss", "outer_accuracy", "outer_loss"]
    mean = grid.drop_duplicates(["task", "seed"]).set_index(["task", "seed"], drop=False)
    mean = mean.assign(**grid.groupby(["task", "seed"])[numbers].mean(), spec="", diverged=False)
    return mean.assign(final_log_lam=np.nan, mean_log_lam=np.nan).reset_index(drop=True)


def summarise(results: Results, plan: Plan) -> tuple[Results, Findings]:
    """The rows with the derived schedules, and what follows from them.

    Args:
        results: rows of contestants, columns as in ``results.csv``.
        plan: what they mean.
    """
    everything, oracle, best_single = add_derived(results, plan)
    against = everything.scores(BEST_SINGLE), everything.scores(ORACLE)
    schedules = {name: _schedule(name, everything, plan, *against) for name in everything.schedules}
    ordered = sorted(schedules.items(), key=lambda item: -item[1].test_accuracy_mean)
    return everything, Findings(
        tasks=tuple(everything.tasks),
        best_single_constant=best_single,
        best_single_constant_chosen_on="tuning suite" if plan.best_single else "test, in hindsight",
        oracle_constants=oracle,
        constants=tuple(plan.constants),
        schedules=dict(ordered),
    )


def _schedule(
    name: str, results: Results, plan: Plan, baseline: Array, oracle: Array
) -> ScheduleSummary:  # fmt: skip
    rows, scores = results.rows(name), results.scores(name)
    difference = scores - baseline
    specs = sorted(set(rows["spec"]))
    return ScheduleSummary(
        kind=str(rows["kind"].iloc[0]),
        spec=str(specs[0]) if len(specs) == 1 else MEANING.get(name, ""),
        test_accuracy_mean=float(scores.mean()),
        test_loss_mean=_finite_mean(rows["test_loss"]),
        difference_mean=float(difference.mean()),
        # The same resamples for every schedule: intervals then differ by the schedules only.
        ci95=bootstrap_interval(difference, np.random.default_rng(BOOTSTRAP_SEED)),
        ci95_tasks=bootstrap_interval(difference, np.random.default_rng(BOOTSTRAP_SEED), unit="tasks"),
        regret_mean=regret(scores, oracle),
        iqm=interquartile_mean(scores),
        probability_of_improvement=probability_of_improvement(scores, baseline),
        inner_runs=plan.price(name),
        tuning_runs=int(plan.tuning_runs.get(name, 0)),
        diverged=float(rows["diverged"].mean()),
        tasks={task: float(row.mean()) for task, row in zip(results.tasks, scores, strict=True)},
    )


def _finite_mean(values: pd.Series) -> float | None:
    numbers = values.to_numpy(np.float64)
    return float(numbers.mean()) if np.isfinite(numbers).all() else None
