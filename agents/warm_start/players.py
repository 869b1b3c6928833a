"""Processes that play tasks. Each has a trainer of its own; what a task comes to does not depend on which one it is."""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from lambda_rl.agents.clusters import Cluster, RayPool, alike
from lambda_rl.agents.options import DataOptions
from lambda_rl.agents.warm_start.actor import Arrays, act_with
from lambda_rl.agents.warm_start.curves import LOG_KAPPAS
from lambda_rl.agents.warm_start.episodes import Actor, Episodes, Exploration, play
from lambda_rl.control import ControlLaw
from lambda_rl.envs.data import Images
from lambda_rl.envs.tasks.suites import Suite
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import Trainer


@dataclass(frozen=True)
class Stage:
    """What all players have in common.

    Attributes:
        suite: where tasks come from, and the fold that they are cut from.
        data: images of tasks that name none.
        trainer: how inner runs are computed.
        control: from action to log₁₀ κ.
        features: names of what the actor observes.
        exploration: how copies leave the actor's way.
    """

    suite: Suite
    data: DataOptions
    trainer: TrainerConfig
    control: ControlLaw
    features: tuple[str, ...]
    exploration: Exploration

    def images(self) -> Images:
        """Training images of all its tasks."""
        return self.data.load_parts("train", self.suite.datasets)


@dataclass(frozen=True)
class Job:
    """A task to play.

    Attributes:
        seed: of the task that is drawn and of the exploration.
        task: None: drawn from the suite.
        constants: log₁₀ κ of those that are played beside the actor.
        copies: of the actor; None: as the stage's exploration says. 1 is the actor itself.
        branch: chance that the constants begin where the actor has come to, somewhere in the run.
        noise: deviation of what is added to each action of each copy, in place of the stage's exploration; 0: that.
    """

    seed: tuple[int, ...]
    task: Task | None = None
    constants: tuple[float, ...] = LOG_KAPPAS
    copies: int | None = None
    branch: float = 0.0
    noise: float = 0.0


class Player:
    """Plays tasks in this process.

    Args:
        stage: see there.
        parts: the images, if they are loaded already.
    """

    def __init__(self, stage: Stage, parts: Images | None = None) -> None:
        self.stage = stage
        parts = stage.images() if parts is None else parts
        # scored at the end only
        self.trainer = Trainer(parts, stage.suite.fold, stage.trainer, outer_size=0)

    def play(self, job: Job, arrays: Arrays | Actor) -> Episodes:
        """All runs of a job."""
        actor = arrays if callable(arrays) else functools.partial(act_with, arrays)
        rng = np.random.default_rng(job.seed)
        task = self.stage.suite.sample(rng) if job.task is None else job.task
        exploration = self.stage.exploration
        copies = exploration.copies if job.copies is None else job.copies
        if job.noise:
            added = job.noise * rng.normal(size=(task.decisions, copies))
        else:
            added = exploration.draw(task.decisions, rng)[:, :copies]
        hold_from = int(rng.integers(1, task.decisions)) if rng.random() < job.branch else 0
        return play(
            task, self.trainer, self.stage.control, self.stage.features, actor, added, job.constants, hold_from
        )  # fmt: skip


def _playing(stage: Stage, parts: Images) -> Callable[[Job, Arrays | Actor], Episodes]:
    """What a process of a cluster makes once."""
    return Player(stage, parts).play


_player: Player | None = None


def _start(stage: Stage) -> None:
    global _player
    torch.set_num_threads(1)
    _player = Player(stage)


def _play(job: Job, arrays: Arrays | Actor) -> Episodes:
    assert _player is not None
    return _player.play(job, arrays)


class Players:
    """Several processes that play.

    Args:
        stage: see there.
        processes: how many; 0: this one.
        ray: address of a cluster whose processes play, in place of those; see
            :class:`~lambda_rl.agents.clusters.Cluster`. The job of one that is killed is played again by another.
    """

    def __init__(self, stage: Stage, processes: int, ray: str = "") -> None:
        self._cluster = Cluster(ray) if ray else None
        self._here = Player(stage) if processes == 0 and not ray else None
        self._pool: ProcessPoolExecutor | RayPool[Episodes] | None = None
        if self._cluster is not None:
            make = functools.partial(_playing, stage, stage.images())
            self._pool = RayPool(self._cluster, alike(make))
        elif processes:
            self._pool = ProcessPoolExecutor(
                processes, multiprocessing.get_context("spawn"), _start, (stage,)
            )

    def begin(self, jobs: Sequence[Job], arrays: Arrays | Actor) -> Callable[[], Iterator[Episodes]]:
        """Has the jobs played; what is returned waits for them, and gives them in their order.

        Args:
            jobs: in any number.
            arrays: of the actor; or any actor that can be sent to other processes.
        """
        if self._here is not None:
            here = self._here
            return lambda: (here.play(job, arrays) for job in jobs)
        assert self._pool is not None
        if isinstance(self._pool, RayPool):
            return self._pool.begin([(job, arrays) for job in jobs])
        futures: list[Future[Episodes]] = [self._pool.submit(_play, job, arrays) for job in jobs]
        return lambda: (future.result() for future in futures)

    def close(self) -> None:
        """Ends the processes, or leaves the cluster."""
        if self._cluster is not None:
            self._cluster.close()
        if isinstance(self._pool, ProcessPoolExecutor):
            self._pool.shutdown(cancel_futures=True)
        if self._here is not None:
            self._here.trainer.close()
