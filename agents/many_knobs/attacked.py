"""α between clean and adversarial examples: constants and policies, on clean images and under attack.

What is chosen and compared is the mean of both accuracies; the attack is that of training, the fast gradient sign
method with 8 of 255 levels of a pixel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch

from lambda_rl import parse_schedule
from lambda_rl.agents.baselines import Cell, Judge
from lambda_rl.agents.many_knobs.measure import Row
from lambda_rl.agents.many_knobs.settings import Setting
from lambda_rl.agents.many_knobs.studies import BEST, CLEAN, EACH, HALF, LEARNED
from lambda_rl.agents.many_knobs.tables import interval
from lambda_rl.agents.presenting.markdown import markdown_table
from lambda_rl.envs.judging import RunResult, ScheduleJob, run_schedules
from lambda_rl.envs.training.evaluation import evaluate_attacked
from lambda_rl.envs.training.resident import Reading
from lambda_rl.envs.training.stack import stack_params
from lambda_rl.envs.training.trainer import Trainer

NO_PENALTY = 1e-6
"""λ of all runs."""

ALPHAS = tuple(tenth / 10 for tenth in range(11))
"""Constants."""

POLICY = LEARNED["alpha"]


def _held(alpha: float) -> Setting:
    return Setting(NO_PENALTY, {"alpha": alpha})


def chosen(cells: Sequence[Cell], judge: Judge) -> tuple[dict[str, float], list[Row]]:
    """The best constant by the mean of both accuracies on ``outer-val``, and a row for each.

    Args:
        cells: of the agent's fold.
        judge: whose images and trainer are used.
    """
    rows: list[Row] = []
    for alpha in ALPHAS:
        jobs = [_held(alpha).job(cell) for cell in cells]
        done = run_schedules(jobs, judge.train, judge.fold, config=judge.config, attacked=0.5)
        accuracy = float(np.mean([100 * result.outer_accuracy for result in done]))
        rows.append({"family": BEST, "setting": f"α {alpha:g}", "accuracy": accuracy})
    return {BEST: ALPHAS[int(np.argmax([row["accuracy"] for row in rows]))]}, rows


def _both(jobs: Sequence[ScheduleJob], judge: Judge) -> list[tuple[float, float]]:
    """Accuracy of each run on all test images, and on the same under attack; percent."""
    done = run_schedules(jobs, judge.train, judge.fold, test=judge.test, config=judge.config, keep_runs=True)
    trainer = judge.trainer()
    try:
        return [(100 * result.test_accuracy, _attacked(result, trainer, judge)) for result in done]
    finally:
        trainer.close()


def _attacked(result: RunResult, trainer: Trainer, judge: Judge) -> float:
    run, test = result.run, judge.test
    if run is None or test is None:
        raise ValueError("test images and the trained networks are needed")
    if result.diverged:
        return 100.0 / test.num_classes
    images = trainer.source(run.task).tested(test)
    images.prepare(run.task.resolution)
    reading, compute = Reading.of(run.task), trainer.placement.dtypes(run.network)[1]
    part = images.evaluation_set(torch.arange(len(images)), run.network, compute, reading)
    prepared = run.network.prepared(stack_params([run.params]), compute)
    _, accuracy = evaluate_attacked(
        run.network, prepared, stack_params([run.buffers]), part.inputs[None], part.labels[None],
        [len(images)], images.affine(run.network, compute, reading),
    )  # fmt: skip
    return 100 * float(accuracy[0])


def judged(cells: Sequence[Cell], judge: Judge, best: float, policies: Mapping[str, str]) -> list[Row]:
    """Accuracies of all constants and of policies.

    Args:
        cells: held out.
        judge: of held-out images, with test images.
        best: the constant that was chosen.
        policies: files, by name such as ``alpha-seed1``.

    Returns:
        A row for each cell and contestant: clean, attacked, and their mean.
    """
    rows: list[Row] = []
    constants = {alpha: _both([_held(alpha).job(cell) for cell in cells], judge) for alpha in ALPHAS}
    for name, alpha in ((CLEAN, 1.0), (HALF, 0.5), (BEST, best)):
        rows += _rows(name, 0, [f"α {alpha:g}"] * len(cells), cells, constants[alpha])
    means = pd.DataFrame({alpha: np.mean(found, 1) for alpha, found in constants.items()})
    each = means.groupby([cell.name for cell in cells]).mean().idxmax(axis=1)
    own = [float(each[cell.name]) for cell in cells]
    found = [constants[alpha][place] for place, alpha in enumerate(own)]
    rows += _rows(EACH, 0, [f"α {alpha:g}" for alpha in own], cells, found)
    for name, path in policies.items():
        make = parse_schedule(f"learned:{path}")
        jobs = [ScheduleJob(cell.task, name, make, key=cell.name) for cell in cells]
        rows += _rows(POLICY, int(name.partition("-seed")[2]), [name] * len(cells), cells, _both(jobs, judge))
    return rows


def _rows(
    name: str,
    agent: int,
    settings: Sequence[str],
    cells: Sequence[Cell],
    found: Sequence[tuple[float, float]],
) -> list[Row]:
    return [
        {
            "contestant": name, "agent_seed": agent, "setting": setting, "task": cell.name,
            "seed": cell.task.seed, "accuracy": (clean + attacked) / 2, "clean": clean, "attacked": attacked,
        }
        for setting, cell, (clean, attacked) in zip(settings, cells, found, strict=True)
    ]  # fmt: skip


def table_of_both(rows: pd.DataFrame, names: Sequence[str]) -> str:
    """Clean and attacked accuracy, their mean, and its difference to the policy's, with 95 % intervals over tasks.

    Args:
        rows: see :func:`judged`.
        names: of those in the table, in its order.
    """
    cells = rows.pivot_table(index=["task", "seed"], columns="contestant", values="accuracy")
    lines = []
    for name in (name for name in names if name in cells):
        own = rows[rows["contestant"] == name]
        settings = own["setting"].unique()
        setting = settings[0] if len(settings) == 1 and name == BEST else ""
        agents = own.groupby("agent_seed")["accuracy"].mean()
        compared = name != POLICY and POLICY in cells
        against = interval((cells[name] - cells[POLICY]).unstack("seed").to_numpy()) if compared else ""
        spread = ", ".join(f"{mean:.2f}" for mean in agents) if name == POLICY else ""
        means = [f"{own[what].mean():.2f}" for what in ("clean", "attacked", "accuracy")]
        lines.append((name, setting, *means, against, spread))
    columns = (
        "", "chosen", "test accuracy, %", "under FGSM, %", "mean of both", f"minus {POLICY}, points", "its agents",
    )  # fmt: skip
    return markdown_table(columns, lines)
