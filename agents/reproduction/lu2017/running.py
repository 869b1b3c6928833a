"""Runs the cells that are not done yet, all in one call of the trainer, and keeps each result as it comes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

from lambda_rl.agents.reproduction.lu2017.experiments import Cell, Plan, cost, stage_decisions
from lambda_rl.agents.reproduction.lu2017.sparsity import WeightTrace, WeightWatch
from lambda_rl.agents.reproduction.lu2017.store import Row, Store
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.data.split import Fold
from lambda_rl.envs.judging import Hooks, RunResult, ScheduleJob, run_schedules
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import InnerRun
from lambda_rl.schedules.base import Schedule
from lambda_rl.schedules.text_form import parse_schedule

FOLD: Fold = "held-out"
"""Images that no shipped policy was trained with."""


def pending(cells: Sequence[Cell], seeds: int, store: Store) -> list[tuple[Cell, Plan, int]]:
    """Runs that are not done: cell, schedule, seed."""
    return [
        (cell, plan, seed)
        for cell in cells
        for plan in cell.plans
        for seed in range(seeds)
        if (plan.name, seed) not in store.rows(cell)
    ]


def run_cells(
    cells: Sequence[Cell],
    seeds: int,
    train: ImageData,
    test: ImageData,
    store: Store,
    *,
    config: TrainerConfig | None = None,
    progress: Callable[[float, float, int, int], None] | None = None,
) -> int:
    """Does all the runs that the store does not have.

    Args:
        cells: what to run.
        seeds: of each schedule: 0 … seeds - 1.
        train: training images.
        test: test images; read when a run is over.
        store: keeps the results, batch by batch, so that an interruption loses one batch at most.
        config: device, precision, threads.
        progress: called with (cost done, cost in all, runs done, runs in all), see
            :func:`~lambda_rl.agents.reproduction.lu2017.experiments.cost`.

    Returns:
        How many runs were done.
    """
    todo = pending(cells, seeds, store)
    if not todo:
        return 0
    makers = {spec: parse_schedule(spec) for spec in {plan.spec for _, plan, _ in todo}}
    told: list[list[str]] = [[] for _ in todo]
    jobs = [
        ScheduleJob(cell.task.with_seed(seed), plan.name, _listening(makers[plan.spec], told[i]))
        for i, (cell, plan, seed) in enumerate(todo)
    ]
    stages = [stage_decisions(cell.task) for cell, _, _ in todo]
    watch = WeightWatch(
        [ends[0] for ends in stages],
        [ends[:-1] for ends in stages],
        [plan.redraw for _, plan, _ in todo],
        [seed for _, _, seed in todo],
    )
    costs = [cost(cell.task) for cell, _, _ in todo]
    total, spent, done = sum(costs), 0.0, 0

    def tell() -> None:
        if progress is not None:
            progress(spent, total, done, len(todo))

    def on_decision(index: int, _: dict[str, float]) -> None:
        nonlocal spent
        spent += costs[index] / todo[index][0].task.decisions
        tell()

    def on_interval(index: int, run: InnerRun) -> None:
        cell, plan, _ = todo[index]
        if cell.watched or plan.redraw:
            watch.on_interval(index, run)

    def on_result(index: int, result: RunResult) -> None:
        nonlocal done
        cell, plan, seed = todo[index]
        trace = watch.take(index) if cell.watched or plan.redraw else None
        store.add(cell, _row(cell, plan, seed, result, trace) | {"warned": told[index]})
        done += 1

    def on_batch(_: int, __: int) -> None:
        store.flush()
        tell()

    tell()
    hooks = Hooks(on_decision, on_interval, on_result, on_batch)
    run_schedules(jobs, train, FOLD, test=test, config=config, hooks=hooks)
    return len(todo)


class _Listened:
    """A schedule whose warnings are written down: that a policy was not followed is a result."""

    def __init__(self, make: Callable[..., Schedule], heard: list[str], context: dict[str, Any]) -> None:
        self.heard = heard
        self.schedule: Schedule = self._listen(lambda: make(**context))

    def _listen(self, call: Callable[[], Any]) -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result = call()
        self.heard += [str(item.message) for item in caught]
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.schedule, name)

    def step(self, **signals: Any) -> float:
        return float(self._listen(lambda: self.schedule.step(**signals)))


def _listening(make: Callable[..., Schedule], heard: list[str]) -> Callable[..., Schedule]:
    return lambda **context: cast(Schedule, _Listened(make, heard, context))


def _row(cell: Cell, plan: Plan, seed: int, result: RunResult, trace: WeightTrace | None) -> Row:
    history = result.history
    row: Row = {
        "cell": cell.name,
        "variation": cell.variation,
        "network": cell.task.network,
        "penalty": cell.task.penalty,
        "width": cell.task.width,
        "iterations": cell.iterations,
        "schedule": plan.name,
        "spec": plan.shown,
        "seed": seed,
        "test_accuracy": 100.0 * result.test_accuracy,
        "test_loss": result.test_loss,
        "val_accuracy": 100.0 * result.val_accuracy,
        "val_loss": result.val_loss,
        "diverged": bool(result.diverged),
        "progress": list(history["progress"]),
        "lam": [10.0**value for value in history["log_lam"]],
        "curve": [100.0 * value for value in history["val_accuracy"]],
    }
    if trace is not None:
        row |= {"zero": trace.zero, "dead": trace.dead, "revived": trace.revived}
    return row
