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
    if todo:
        work = _Work(todo, store, progress)
        work.tell()
        hooks = Hooks(work.on_decision, work.on_interval, work.on_result, work.on_batch)
        run_schedules(work.jobs(), train, FOLD, test=test, config=config, hooks=hooks)
    return len(todo)


class _Work:
    """Runs that are not done, as jobs, and what becomes of what they tell."""

    def __init__(
        self,
        todo: Sequence[tuple[Cell, Plan, int]],
        store: Store,
        progress: Callable[[float, float, int, int], None] | None,
    ) -> None:
        self.todo, self.store, self.progress = todo, store, progress
        self.told: list[list[str]] = [[] for _ in todo]
        self.costs = [cost(cell.task) for cell, _, _ in todo]
        self.spent, self.done = 0.0, 0
        self.watches = {
            index: WeightWatch(stage_decisions(cell.task), plan.redraw, seed)
            for index, (cell, plan, seed) in enumerate(todo)
            if cell.watched or plan.redraw
        }

    def jobs(self) -> list[ScheduleJob]:
        makers = {spec: parse_schedule(spec) for spec in {plan.spec for _, plan, _ in self.todo}}
        return [
            ScheduleJob(cell.task.with_seed(seed), plan.name, _listening(makers[plan.spec], told))
            for (cell, plan, seed), told in zip(self.todo, self.told, strict=True)
        ]

    def tell(self) -> None:
        if self.progress is not None:
            self.progress(self.spent, sum(self.costs), self.done, len(self.todo))

    def on_decision(self, index: int, _: dict[str, float]) -> None:
        self.spent += self.costs[index] / self.todo[index][0].task.decisions
        self.tell()

    def on_interval(self, index: int, run: InnerRun) -> None:
        if index in self.watches:
            self.watches[index].on_interval(run)

    def on_result(self, index: int, result: RunResult) -> None:
        cell, plan, seed = self.todo[index]
        watch = self.watches.pop(index, None)
        row = _row(cell, plan, seed, result, None if watch is None else watch.trace)
        self.store.add(cell, row | {"warned": self.told[index]})
        self.done += 1

    def on_batch(self, _: int, __: int) -> None:
        self.store.flush()
        self.tell()


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
