"""Schedules judged: inner runs under them, in lockstep, on the dynamics that the environments have.

The comparison, tuning, validation and ``train_network.py`` all come here. All that is random in a run comes from its
task's seed and the fold, so schedules that are given the same task see the same initial weights and minibatches
(common random numbers).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lambda_rl.control import ControlLaw
from lambda_rl.envs.control_problem import HISTORY_KEYS, ControlledRuns
from lambda_rl.envs.data import Images, by_name, is_generated, load_test
from lambda_rl.envs.data.split import Fold
from lambda_rl.envs.moved import check_knobs
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.asked import Asked
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.resident import ResidentImages
from lambda_rl.envs.training.run import InnerRun, start_lam
from lambda_rl.envs.training.trainer import Trainer, to_log
from lambda_rl.knobs import kind_of
from lambda_rl.observation import Signals
from lambda_rl.schedules.base import Schedule
from lambda_rl.schedules.rules.feedback import FeedbackRule
from lambda_rl.schedules.watcher import WATCHED

DecisionHook = Callable[[int, dict[str, float]], None]
WeightHook = Callable[[int, InnerRun], None]

GIVEN = ("progress", *WATCHED)
"""Signals that schedules are given: all but λ, which is theirs."""

GPU_BATCH = 64
"""Runs that are judged at once on a GPU: enough to fill it, few enough for its memory."""


@dataclass(frozen=True)
class ScheduleJob:
    """One inner run to do.

    Attributes:
        task: what is trained.
        name: the schedule's name in the result.
        make: makes the schedule; called with ``total_steps``, ``facts``, ``weight_norm``, ``penalty_sum`` (R of
            the initial weights), ``initial_lam``, ``decisions`` and ``decay``, as what
            ``parse_schedule`` returns takes them.
        key: what the result is known by; anything hashable.
    """

    task: Task
    name: str
    make: Callable[..., Schedule]
    key: Hashable = None


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
        key: the job's.
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
    key: Hashable = None
    run: InnerRun | None = None


@dataclass(frozen=True)
class Hooks:
    """What is told while runs go on; indices are those of the jobs.

    Attributes:
        on_decision: called with (index, measurements) after each decision.
        on_interval: called with (index, its run) at the start and after each interval of a run that is sound; may
            read the weights (and change them in place, where that is the experiment).
        on_result: called with (index, its result) as soon as it is there, before ``progress``.
        progress: called with (runs done, runs in all).
    """

    on_decision: DecisionHook | None = None
    on_interval: WeightHook | None = None
    on_result: Callable[[int, RunResult], None] | None = None
    progress: Callable[[int, int], None] | None = None


def _batches(jobs: Sequence[ScheduleJob], trainer: Trainer) -> Iterator[list[int]]:
    """Indices of jobs that run together: alike in shape and rhythm, hence fused, and few enough for memory."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for i, job in enumerate(jobs):
        task = job.task
        groups.setdefault((*task.group_key, task.steps, task.decisions), []).append(i)
    for group in groups.values():
        size = GPU_BATCH
        if trainer.device.type == "cpu":
            size = trainer.side_by_side(jobs[group[0]].task) * trainer.config.threads
        for start in range(0, len(group), size):
            yield group[start : start + size]


def run_schedules(
    jobs: Sequence[ScheduleJob],
    train: Images,
    fold: Fold,
    *,
    test: Images | None = None,
    config: TrainerConfig | None = None,
    hooks: Hooks | None = None,
    keep_runs: bool = False,
    attacked: float = 0.0,
) -> list[RunResult]:
    """Does all the jobs.

    Args:
        jobs: tasks and their schedules.
        train: training images; of several data sets by the name that tasks give them, see
            :class:`~lambda_rl.envs.training.trainer.Trainer`.
        fold: which of them.
        test: test images, likewise; used after a run's schedule has finished, and for nothing but its result.
        config: device, precision, threads.
        hooks: what is told while runs go on.
        keep_runs: leaves the trained networks in the results.
        attacked: share of ``outer_accuracy`` and ``outer_loss`` that is of adversarial images.

    Returns:
        Results in the order of the jobs.

    Raises:
        ValueError: a task cannot be run on its data (see :func:`~lambda_rl.envs.training.sources.check_task`), or its
            test images are missing or of other classes.
    """
    hooks = hooks or Hooks()
    trainer = Trainer(train, fold, config, outer_size=0, attacked=attacked)
    tests = {} if test is None else by_name(test)
    for task in dict.fromkeys(job.task for job in jobs):  # refused now, not when its turn has come
        trainer.sources.check(task)
        if tests and task.data not in tests and not is_generated(task.data):
            raise ValueError(f"task {task.name}: no test images of its data {task.data!r} were given")
    resident = {name: trainer.sources[name].tested(part) for name, part in tests.items()}
    results: dict[int, RunResult] = {}
    try:
        for batch in _batches(jobs, trainer):
            judged = _Batch([jobs[i] for i in batch], batch, trainer, hooks)
            judged.train()
            tested = _tested(resident, jobs[batch[0]].task, trainer)
            for index, result in zip(batch, judged.results(tested, keep_runs), strict=True):
                results[index] = result
                if hooks.on_result is not None:
                    hooks.on_result(index, result)
            if hooks.progress is not None:
                hooks.progress(len(results), len(jobs))
    finally:
        trainer.close()
    return [results[i] for i in range(len(jobs))]


def _tested(
    resident: Mapping[str, ResidentImages], task: Task, trainer: Trainer
) -> Mapping[str, ResidentImages]:
    """Test images of a batch's data set; those of a generated one are made, if there are any at all."""
    if not resident or task.data in resident:
        return resident
    return {task.data: trainer.source(task).tested(load_test(task.data))}


class _Batch:
    """Jobs that run together, one a slot of the control problem.

    Args:
        jobs: tasks and schedules.
        numbers: what the hooks know the jobs by.
        trainer: scores runs at their end only.
        hooks: what is told.
    """

    def __init__(
        self, jobs: Sequence[ScheduleJob], numbers: Sequence[int], trainer: Trainer, hooks: Hooks
    ) -> None:
        self.jobs, self.numbers, self.trainer, self.hooks = jobs, numbers, trainer, hooks
        self.runs = ControlledRuns(len(jobs), trainer, ControlLaw(), RewardConfig())
        self.runs.begin(range(len(jobs)), [job.task for job in jobs])
        self.schedules = [self._make(slot) for slot in range(len(jobs))]
        self.diverged = [False] * len(jobs)
        self.final = np.full((len(jobs), 4), np.nan)  # val accuracy, val loss, outer accuracy, outer loss

    def _make(self, slot: int) -> Schedule:
        job, run = self.jobs[slot], self.runs.run(slot)
        norm, penalty = self.runs.start_measures[slot]
        made = job.make(
            total_steps=job.task.steps,
            facts=run.facts,
            weight_norm=norm,
            penalty_sum=penalty,
            initial_lam=start_lam(job.task, run.facts),
            decisions=job.task.decisions,
            decay=job.task.decay,
        )
        if self.hooks.on_interval is not None:
            self.hooks.on_interval(self.numbers[slot], run)
        check_knobs(made.knobs, job.task, run.network)
        if isinstance(made, FeedbackRule) and made.asked:
            made.step(progress=0.0, weight_norm=norm, **self._asked(made, slot))
        return made

    def train(self) -> None:
        """All runs to their ends; a run that diverged ends there."""
        active = list(range(len(self.jobs)))
        while active:
            log_lam = np.array([to_log(self.schedules[slot].value) for slot in active])
            interval = self.runs.hold(log_lam, active, self._log_knobs(active))
            measured = interval.measured
            for n, slot in enumerate(active):
                self.diverged[slot] = bool(interval.diverged[n])
                self._tell(slot)
                if interval.terminated[n]:
                    self.final[slot] = (
                        measured.val_accuracy[n], measured.val_loss[n],
                        measured.outer_accuracy[n], measured.outer_loss[n],
                    )  # fmt: skip
                else:
                    self._decide(slot, interval.signals, n)
            active = [slot for n, slot in enumerate(active) if not interval.terminated[n]]

    def _log_knobs(self, active: Sequence[int]) -> dict[str, npt.NDArray[np.float64]]:
        """Levels of the knobs that any of the schedules moves; neutral for those that do not."""
        told = [self.schedules[slot].knobs for slot in active]
        kinds = {name: kind_of(name) for name in dict.fromkeys(name for knobs in told for name in knobs)}
        return {
            name: np.array([kind.level(knobs.get(name, kind.neutral)) for knobs in told])
            for name, kind in kinds.items()
        }

    def _tell(self, slot: int) -> None:
        hooks, number = self.hooks, self.numbers[slot]
        if hooks.on_decision is not None:
            hooks.on_decision(number, {key: values[-1] for key, values in self.runs.history[slot].items()})
        if hooks.on_interval is not None and not self.diverged[slot]:
            hooks.on_interval(number, self.runs.run(slot))

    def _decide(self, slot: int, signals: Signals[npt.NDArray[np.float64]], n: int) -> None:
        """The schedule's next λ, from what it may see of its run."""
        schedule = self.schedules[slot]
        given: dict[str, Any] = {name: float(getattr(signals, name)[n]) for name in GIVEN}
        schedule.step(**given, **self._asked(schedule, slot))

    def _asked(self, schedule: Schedule, slot: int) -> dict[str, Any]:
        """What a rule asks for beyond the usual signals."""
        if not isinstance(schedule, FeedbackRule) or not schedule.asked:
            return {}
        run, trainer = self.runs.run(slot), self.trainer
        images = trainer.source(run.task).images
        return Asked(run, images, *trainer.placement.dtypes(run.network)).signals(schedule.asked)

    def results(self, test: Mapping[str, ResidentImages], keep_runs: bool) -> list[RunResult]:
        """What the runs came to; test images are looked at now, when all schedules have finished."""
        tested = np.full((len(self.jobs), 2), np.nan)  # accuracy, loss
        if test:
            sound = [slot for slot in range(len(self.jobs)) if not self.diverged[slot]]
            loss, accuracy = self.trainer.test([self.runs.run(slot) for slot in sound], test)
            tested[sound] = np.stack([accuracy, loss], 1)
        for slot in np.flatnonzero(self.diverged):
            classes = self.runs.run(int(slot)).network.num_classes
            guess = (1.0 / classes, math.log(classes))
            self.final[slot] = (*guess, *guess)
            if test:
                tested[slot] = guess
        return [self._result(slot, tested[slot], keep_runs) for slot in range(len(self.jobs))]

    def _result(self, slot: int, tested: npt.NDArray[np.float64], keep_runs: bool) -> RunResult:
        job = self.jobs[slot]
        val_accuracy, val_loss, outer_accuracy, outer_loss = map(float, self.final[slot])
        history = self.runs.history[slot]
        return RunResult(
            task=job.task,
            schedule=job.name,
            test_accuracy=float(tested[0]),
            test_loss=float(tested[1]),
            outer_accuracy=outer_accuracy,
            outer_loss=outer_loss,
            val_accuracy=val_accuracy,
            val_loss=val_loss,
            diverged=self.diverged[slot],
            history={key: history[key] for key in HISTORY_KEYS},
            key=job.key,
            run=self.runs.run(slot) if keep_runs else None,
        )
