"""The judge: does inner runs under schedules, each once, and keeps what they came to."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from lambda_rl.agents.baselines.fingerprints import digest, trainer_fingerprint
from lambda_rl.envs.data import ImageData, Images, by_name, load_test
from lambda_rl.envs.data.split import Fold
from lambda_rl.envs.judging import Hooks, RunResult, ScheduleJob, run_schedules
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import InnerRun
from lambda_rl.envs.training.trainer import Trainer

_WHOLE = "whole: "  # tells a contestant's result from that of a single run under a schedule of the same text


@dataclass(frozen=True)
class Cell:
    """One task of a suite with one of its seeds.

    Attributes:
        name: of the task in its suite.
        task: with the seed.
    """

    name: str
    task: Task


@dataclass(frozen=True)
class Played:
    """What a contestant came to on one task and seed, and what that took.

    Attributes:
        task: the task's name in its suite.
        result: accuracies, losses and λ at each decision.
        spec: the schedule that the result is of, as text.
        inner_runs: inner runs that a user would pay for it.
        steps: optimizer steps of all of them.
        seconds: how long they took; runs that are trained together share their time evenly.
    """

    task: str
    result: RunResult
    spec: str
    inner_runs: int
    steps: int
    seconds: float

    @property
    def seed(self) -> int:
        """The seed of the run."""
        return int(self.result.task.seed)


class Kept(Protocol):
    """Where results are kept from one process to the next."""

    def get(self, key: str, task: Task) -> Played | None:
        """What is kept under a key, as a result on that task; None if there is nothing."""

    def keep(self, rows: Mapping[str, Played]) -> None:
        """Keeps results under their keys."""


class Player(Protocol):
    """What a judge knows of a :class:`~lambda_rl.agents.baselines.Contestant`."""

    @property
    def spec(self) -> str:
        """What it is, as text."""

    def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
        """What it comes to on each cell, in their order."""


class Crew(Protocol):
    """Others who do inner runs, see :mod:`lambda_rl.agents.baselines.crew`; on the judge's images, and in its way."""

    def runs(self, jobs: Sequence[ScheduleJob]) -> Iterator[Mapping[int, Played]]:
        """Results of jobs by their place, as they come."""

    def games(self, contestant: Player, cells: Sequence[Cell]) -> Iterator[tuple[int, Played]]:
        """What a contestant that is no schedule comes to, by the cell's place, as it comes."""


class Judge:
    """Does inner runs on images of one fold. The same task under the same schedule is run once.

    Args:
        train: training images, of one data set or several.
        fold: which of them.
        test: test images, looked at when a run's schedule has finished; None: none are.
        config: device, precision and threads.
        kept: results of earlier processes, which are not done again, and where new ones go; None: they are forgotten.
        traces: whether λ and signals at each decision are kept too.
        crew: who does them in this one's place; None: nobody.
    """

    def __init__(
        self,
        train: Images,
        fold: Fold,
        *,
        test: Images | None = None,
        config: TrainerConfig | None = None,
        kept: Kept | None = None,
        traces: bool = True,
        crew: Crew | None = None,
    ) -> None:
        self.fold = fold
        self._train, self._test = by_name(train), None if test is None else by_name(test)
        self.config = config or TrainerConfig()
        self._kept, self._traces, self._crew = kept, traces, crew
        self._known: dict[str, Played] = {}
        self._ground = digest(fold, trainer_fingerprint(self.config))

    @property
    def train(self) -> ImageData:
        """Training images of tasks that name no data set."""
        return self._train[""]

    @property
    def test(self) -> ImageData | None:
        """Their test images."""
        return None if self._test is None else self._test[""]

    def trainer(self) -> Trainer:
        """A trainer of its training images, for a contestant that does its runs in its own way; to be closed."""
        return Trainer(self._train, self.fold, self.config, outer_size=0)

    def tested(self, trainer: Trainer, run: InnerRun) -> tuple[float, float]:
        """Test accuracy and loss of a run that such a trainer brought to its end; NaN if there are no test images."""
        if self._test is None:
            return math.nan, math.nan
        name, source = run.task.data, trainer.source(run.task)
        part = self._test[name] if name in self._test else load_test(name)
        loss, accuracy = trainer.test([run], {name: source.tested(part)})
        return float(accuracy[0]), float(loss[0])

    def key(self, task: Task, spec: str) -> str:
        """What a result is kept under: task and seed, schedule, images, and what computes it."""
        fields = json.dumps(dataclasses.asdict(task), sort_keys=True, default=str)
        images = [
            parts[task.data].fingerprint for parts in (self._train, self._test or {}) if task.data in parts
        ]
        return digest(self._ground, *images, fields, spec)

    def __call__(
        self, jobs: Sequence[ScheduleJob], progress: Callable[[int, int], None] | None = None
    ) -> list[Played]:
        """Results of runs, those done before among them.

        Args:
            jobs: a job's ``name`` says all of its schedule, so that two jobs of one task and name are the same run;
                its ``key`` is the task's name in its suite, if it has one there.
            progress: called with (runs done, runs in all).

        Returns:
            One for each job, in their order.

        Raises:
            ValueError: a task wants more images than the fold has.
        """
        keys = [self.key(job.task, job.name) for job in jobs]
        wanted = dict(zip(keys, jobs, strict=True))
        todo = {key: job for key, job in wanted.items() if not self._look_up(key, job.task)}
        done = len(wanted) - len(todo)
        if progress is not None:
            progress(done, len(wanted))
        if todo:
            self._run(todo, lambda count: None if progress is None else progress(done + count, len(wanted)))
        return [
            dataclasses.replace(self._known[key], task=_task_name(job))
            for key, job in zip(keys, jobs, strict=True)
        ]

    def games(self, contestant: Player, cells: Sequence[Cell]) -> Iterator[Played]:
        """Results of a contestant that is no schedule, each kept as soon as it is there.

        Args:
            contestant: who plays what is not kept from this process or an earlier one.
            cells: tasks and seeds.

        Returns:
            One for each cell, in their order.
        """
        keys = [self.key(cell.task, _WHOLE + contestant.spec) for cell in cells]
        missing = [
            place
            for place, (key, cell) in enumerate(zip(keys, cells, strict=True))
            if not self._look_up(key, cell.task)
        ]
        fresh = self._fresh(contestant, [cells[place] for place in missing])
        for key, cell in zip(keys, cells, strict=True):
            while key not in self._known:
                place, played = next(fresh)
                self._keep({keys[missing[place]]: played})
            yield dataclasses.replace(self._known[key], task=cell.name)

    def _fresh(self, contestant: Player, cells: Sequence[Cell]) -> Iterator[tuple[int, Played]]:
        if not cells:
            return iter(())
        return (
            enumerate(contestant.play(cells, self))
            if self._crew is None
            else self._crew.games(contestant, cells)
        )

    def _keep(self, rows: dict[str, Played]) -> None:
        self._known.update(rows)
        if self._kept is not None:
            self._kept.keep(rows if self._traces else {k: _without_trace(v) for k, v in rows.items()})

    def _look_up(self, key: str, task: Task) -> bool:
        if key not in self._known and self._kept is not None:
            found = self._kept.get(key, task)
            if found is not None:
                self._known[key] = found
        return key in self._known

    def _run(self, todo: dict[str, ScheduleJob], tell: Callable[[int], None]) -> None:
        keys, jobs = list(todo), list(todo.values())
        if self._crew is not None:
            finished = 0
            for found in self._crew.runs(jobs):
                self._keep({keys[place]: played for place, played in found.items()})
                finished += len(found)
                tell(finished)
            return
        batch: dict[str, RunResult] = {}
        clock = time.monotonic()

        def on_result(index: int, result: RunResult) -> None:
            batch[keys[index]] = result

        def on_batch(done: int, _: int) -> None:
            nonlocal clock
            now = time.monotonic()
            rows = {
                key: Played(
                    _task_name(todo[key]), result, result.schedule, 1, result.task.steps, (now - clock) / len(batch)
                )
                for key, result in batch.items()
            }  # fmt: skip
            self._keep(rows)
            batch.clear()
            clock = now
            tell(done)

        hooks = Hooks(on_result=on_result, progress=on_batch)
        run_schedules(jobs, self._train, self.fold, test=self._test, config=self.config, hooks=hooks)


def _task_name(job: ScheduleJob) -> str:
    return job.key if isinstance(job.key, str) else job.task.name


def _without_trace(played: Played) -> Played:
    return dataclasses.replace(played, result=dataclasses.replace(played.result, history={}))
