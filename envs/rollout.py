"""Inner runs under schedules, in lockstep: what the comparison, tuning, validation and ``train_network.py`` use.

All that is random in a run comes from its task's seed and the fold, so schedules that are given the same task see
the same initial weights and minibatches (common random numbers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lambda_rl.envs.core import HISTORY_KEYS, measured_signals
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.resident import ResidentImages
from lambda_rl.envs.runs import InnerRun
from lambda_rl.envs.split import Fold
from lambda_rl.envs.tasks import Task
from lambda_rl.envs.trainer import Trainer, TrainerConfig, to_log
from lambda_rl.schedule import Schedule

DecisionHook = Callable[[int, dict[str, float]], None]
WeightHook = Callable[[int, InnerRun], None]


@dataclass(frozen=True)
class ScheduleJob:
    """One inner run to do.

    Attributes:
        task: what is trained.
        name: the schedule's name in the result.
        make: makes the schedule; called with ``total_steps``, ``facts``, ``weight_norm``, ``penalty_sum`` (R of
            the initial weights), ``initial_lam``, ``decisions`` and ``decay``, as what
            ``parse_schedule`` returns takes them.
    """

    task: Task
    name: str
    make: Callable[..., Schedule]


@dataclass
class RunResult:
    """What a run came to. Accuracies are fractions, losses nats.

    Attributes:
        task: what was trained.
        schedule: the schedule's name.
        test_accuracy: NaN if no test images were given.
        test_loss: likewise.
        outer_accuracy: on the whole of ``outer-val``, at the end.
        outer_loss: likewise.
        val_accuracy: on the run's ``inner-val`` images, at the end: what a grid search selects on.
        val_loss: likewise.
        diverged: a loss or weight was not finite; accuracies are then those of guessing.
        history: per decision ``progress`` (at the interval's end), ``log_lam``, ``train_loss``, ``val_loss``,
            ``train_accuracy``, ``val_accuracy``.
        run: the trained run, if it was asked to be kept.
    """

    task: Task
    schedule: str
    test_accuracy: float
    test_loss: float
    outer_accuracy: float
    outer_loss: float
    val_accuracy: float
    val_loss: float
    diverged: bool
    history: dict[str, list[float]]
    run: InnerRun | None = None


def _batches(jobs: Sequence[ScheduleJob], trainer: Trainer) -> Iterator[list[int]]:
    """Indices of jobs that run together: alike in shape and rhythm, hence fused, and few enough for memory."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, job in enumerate(jobs):
        task = job.task
        groups.setdefault((*task.group_key, task.steps, task.decisions), []).append(i)
    for group in groups.values():
        fused = 16 if jobs[group[0]].task.network == "mlp" else 4
        size = fused * trainer.config.threads if trainer.device.type == "cpu" else 64
        for start in range(0, len(group), size):
            yield group[start : start + size]


def run_schedules(
    jobs: Sequence[ScheduleJob],
    train: ImageData,
    fold: Fold,
    *,
    test: ImageData | None = None,
    config: TrainerConfig | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_decision: DecisionHook | None = None,
    on_interval: WeightHook | None = None,
    on_result: Callable[[int, RunResult], None] | None = None,
    keep_runs: bool = False,
) -> list[RunResult]:
    """Does all the jobs.

    Args:
        jobs: tasks and their schedules.
        train: training images.
        fold: which of them.
        test: test images; used after a run's schedule has finished, and for nothing but its result.
        config: device, precision, threads.
        progress: called with (runs done, runs in all).
        on_decision: called with (index of the job, measurements) after each decision.
        on_interval: called with (index of the job, its run) at the start and after each interval of a run that is
            sound; may read the weights (and change them in place, where that is the experiment).
        on_result: called with (index of the job, its result) as soon as it is there, before ``progress``.
        keep_runs: leaves the trained networks in the results.

    Returns:
        Results in the order of the jobs.

    Raises:
        ValueError: a task wants more images than the fold has, or the test images are of other classes.
    """
    if test is not None and test.num_classes != train.num_classes:
        raise ValueError(f"test images have {test.num_classes} classes, training images {train.num_classes}")
    trainer = Trainer(train, fold, config, outer_size=0)
    resident = (
        None
        if test is None
        else ResidentImages(test, trainer.device, trainer.data.statistics, reference=trainer.data)
    )
    results: dict[int, RunResult] = {}
    try:
        for batch in _batches(jobs, trainer):
            done = _run_batch(
                [jobs[i] for i in batch], trainer, resident, batch, on_decision, on_interval, keep_runs
            )
            results.update(zip(batch, done, strict=True))
            if on_result is not None:
                for index, result in zip(batch, done, strict=True):
                    on_result(index, result)
            if progress is not None:
                progress(len(results), len(jobs))
    finally:
        trainer.close()
    return [results[i] for i in range(len(jobs))]


def _run_batch(
    jobs: list[ScheduleJob],
    trainer: Trainer,
    test: ResidentImages | None,
    numbers: list[int],
    on_decision: DecisionHook | None,
    on_interval: WeightHook | None,
    keep_runs: bool,
) -> list[RunResult]:
    runs, schedules = [], []
    for job in jobs:
        run = trainer.start(job.task)
        norm, penalty = trainer.weight_measures(run)
        made = job.make(
            total_steps=job.task.steps,
            facts=run.facts,
            weight_norm=norm,
            penalty_sum=penalty,
            initial_lam=job.task.initial_lam,
            decisions=job.task.decisions,
            decay=job.task.decay,
        )
        runs.append(run)
        schedules.append(made)
        if on_interval is not None:
            on_interval(numbers[len(runs) - 1], run)
    history: list[dict[str, list[float]]] = [{key: [] for key in HISTORY_KEYS} for _ in jobs]
    final = np.full((len(jobs), 4), np.nan)  # val accuracy, val loss, outer accuracy, outer loss
    active = list(range(len(jobs)))
    diverged = [False] * len(jobs)
    while active:
        some = [runs[i] for i in active]
        log_lam = np.array([to_log(schedules[i].value) for i in active])
        measured = trainer.advance(some, log_lam)
        signals = measured_signals(some, measured, log_lam)
        still = []
        for n, i in enumerate(active):
            for key in HISTORY_KEYS:
                history[i][key].append(float(getattr(signals, key)[n]))
            if on_decision is not None:
                on_decision(numbers[i], {key: values[-1] for key, values in history[i].items()})
            diverged[i] = not measured.finite[n] or bool(np.isinf(measured.outer_loss[n]))
            if on_interval is not None and not diverged[i]:
                on_interval(numbers[i], runs[i])
            if diverged[i] or runs[i].finished:
                final[i] = (
                    measured.val_accuracy[n], measured.val_loss[n], measured.outer_accuracy[n], measured.outer_loss[n]
                )  # fmt: skip
                continue
            schedules[i].step(
                progress=runs[i].progress,
                train_loss=float(signals.train_loss[n]),
                val_loss=float(signals.val_loss[n]),
                train_accuracy=float(signals.train_accuracy[n]),
                val_accuracy=float(signals.val_accuracy[n]),
                weight_norm=float(signals.weight_norm[n]),
                penalty=float(signals.penalty[n]),
                lr_ratio=float(signals.lr_ratio[n]),
            )
            still.append(i)
        active = still
    classes = trainer.data.num_classes
    guess = (1.0 / classes, math.log(classes))
    tested = np.full((len(jobs), 2), np.nan)
    if test is not None:
        sound = [i for i in range(len(jobs)) if not diverged[i]]
        loss, accuracy = trainer.test([runs[i] for i in sound], test)
        tested[sound] = np.stack([accuracy, loss], 1)
    results = []
    for i, job in enumerate(jobs):
        if diverged[i]:
            final[i], tested[i] = (*guess, *guess), guess if test is not None else (np.nan, np.nan)
        results.append(
            RunResult(
                task=job.task,
                schedule=job.name,
                test_accuracy=float(tested[i, 0]),
                test_loss=float(tested[i, 1]),
                outer_accuracy=float(final[i, 2]),
                outer_loss=float(final[i, 3]),
                val_accuracy=float(final[i, 0]),
                val_loss=float(final[i, 1]),
                diverged=diverged[i],
                history=history[i],
                run=runs[i] if keep_runs else None,
            )
        )
    return results
