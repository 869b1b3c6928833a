"""Choosing constants on the agent's images, and judging all on held-out ones."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lambda_rl import parse_schedule
from lambda_rl.agents.baselines import BASELINES, Cell, Judge
from lambda_rl.agents.many_knobs.settings import Setting, one_lambda, searched_layers, two_knobs
from lambda_rl.agents.many_knobs.studies import BY_NORM, CPR, GRIDS, LAYERS, LEARNED, ONE, Study
from lambda_rl.envs.judging import ScheduleJob
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.run import network_of

Row = dict[str, Any]


def cells_of(tasks: Sequence[tuple[str, Task]], seeds: int) -> list[Cell]:
    """Each task with each seed.

    Args:
        tasks: with their names.
        seeds: how many.
    """
    return [Cell(name, replace(task, seed=task.seed + seed)) for name, task in tasks for seed in range(seeds)]


def chosen(
    study: Study, cells: Sequence[Cell], judge: Judge, trials: int, there: Container[str] = ()
) -> tuple[dict[str, Any], list[Row]]:
    """The best of so many settings of each family of a study, by the accuracy on ``outer-val``.

    Args:
        study: which families.
        cells: of the agent's fold.
        judge: of it.
        trials: settings of each family.
        there: families that are left out.

    Returns:
        What was chosen, by name: a :class:`Setting`, or the text of a baseline; and a row for each trial.
    """

    def scores(settings: Sequence[Setting]) -> list[float]:
        jobs = [setting.job(cell) for setting in settings for cell in cells]
        accuracies = [100 * played.result.outer_accuracy for played in judge(jobs)]
        return [float(np.mean(part)) for part in np.split(np.array(accuracies), len(settings))]

    grids = {ONE: one_lambda(trials, study.lambdas)} | {
        GRIDS[knob]: two_knobs(knob, trials) for knob in study.knobs
    }
    if study.layers:
        grids[BY_NORM] = one_lambda(trials, by_norm=True)
    tried: dict[str, list[tuple[Any, float]]] = {
        name: list(zip(grid, scores(grid), strict=True)) for name, grid in grids.items() if name not in there
    }
    if study.layers and LAYERS not in there:
        layers = len(network_of(cells[0].task, 10).penalised)
        tried[LAYERS] = list(searched_layers(trials, layers, 0, scores))
    if study.layers and CPR not in there:
        tried[CPR] = [
            (spec, float(np.mean(_played(spec, cells, judge, "outer_accuracy"))))
            for spec in BASELINES[CPR].grid()[:trials]
        ]
    rows = [
        {"family": name, "setting": str(setting), "accuracy": score}
        for name, found in tried.items()
        for setting, score in found
    ]
    return {name: max(found, key=lambda item: item[1])[0] for name, found in tried.items()}, rows


def _played(spec: str, cells: Sequence[Cell], judge: Judge, what: str) -> list[float]:
    """Accuracies of CPR, percent."""
    contestant = BASELINES[CPR].contestant(spec)
    return [100 * float(getattr(played.result, what)) for played in contestant.play(cells, judge)]


def judged(
    cells: Sequence[Cell], judge: Judge, best: Mapping[str, Any], policies: Mapping[str, str]
) -> list[Row]:
    """Test accuracies of what was chosen, and of policies.

    Args:
        cells: held out.
        judge: of held-out images, with test images.
        best: see :func:`chosen`.
        policies: files, by name such as ``dropout-seed1``.

    Returns:
        A row for each cell and contestant.
    """
    rows = []
    for name, setting in best.items():
        if isinstance(setting, Setting):
            jobs = [setting.job(cell) for cell in cells]
            found = [100 * played.result.test_accuracy for played in judge(jobs)]
        else:
            found = _played(setting, cells, judge, "test_accuracy")
        rows += _rows(name, 0, str(setting), cells, found)
    for name, path in policies.items():
        kind, _, seed = name.partition("-seed")
        make = parse_schedule(f"learned:{path}")
        tasks = [replace(cell.task, augment=cell.task.augment and kind != "plain") for cell in cells]
        jobs = [
            ScheduleJob(task, f"learned {name}", make, key=cell.name)
            for task, cell in zip(tasks, cells, strict=True)
        ]
        found = [100 * played.result.test_accuracy for played in judge(jobs)]
        rows += _rows(LEARNED[kind], int(seed), name, cells, found)
    return rows


def _rows(name: str, agent: int, setting: str, cells: Sequence[Cell], found: Sequence[float]) -> list[Row]:
    return [
        {
            "contestant": name, "agent_seed": agent, "setting": setting, "task": cell.name,
            "seed": cell.task.seed, "accuracy": accuracy,
        }
        for cell, accuracy in zip(cells, found, strict=True)
    ]  # fmt: skip
