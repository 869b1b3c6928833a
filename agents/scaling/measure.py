"""Times what a rollout is made of, by training runs of a few rollouts."""

from __future__ import annotations

import csv
import dataclasses
import os
import pickle
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lambda_rl.agents.clusters import Cluster, ClusterVectorEnv
from lambda_rl.agents.clusters.slots import Worker
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.run import environment, train
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.envs.tasks.suites import load_suite

CALLS = 100


@dataclass(frozen=True)
class Row:
    """One rollout, of this process or of workers; or decisions of this process alone.

    Attributes:
        preset: of the run.
        workers: of a cluster; 0: it ran in this process.
        threads: of this process, or of each worker.
        slots: inner runs side by side, of all workers.
        repeat: number of the run.
        rollout: number of the rollout in it, from 0 on; the first, which starts everything, is left out.
        clock: ``wall``; or ``cpu`` of decisions alone, seconds of a core of whoever has most to do.
        step_seconds: a decision of all slots, in the mean.
        learner_seconds: the rest of a rollout: actions, the update, the checkpoint; 0 of decisions alone.
        load: processes that wanted to run on this machine over the minute before.
    """

    preset: str
    workers: int
    threads: int
    slots: int
    repeat: int
    rollout: int
    clock: str
    step_seconds: float
    learner_seconds: float
    load: float


@dataclass(frozen=True)
class Travel:
    """What travels.

    Attributes:
        call_seconds: of a call to a worker that does nothing, on this machine; median.
        step_bytes: of the actions and of what comes back for them, of all slots, in the mean over an episode.
        state_bytes: of the state of all slots, in the midst of their runs, which is fetched with every checkpoint.
    """

    call_seconds: float
    step_bytes: int
    state_bytes: int


def rows_of(config: TrainConfig, rollouts: int, repeat: int) -> Iterator[Row]:
    """Rollouts of a run that is thrown away."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="lambda-rl-scaling-") as folder:
        whole = dataclasses.replace(
            config, name="run", out=folder, eval_every=0, wandb="disabled",
            total_decisions=(1 + rollouts) * config.ppo.rollout_size,
        )  # fmt: skip
        path = RunFolder(train(whole, show_progress=False)).metrics
        with path.open(newline="", encoding="utf-8") as file:
            found = list(csv.DictReader(file))
    for number, each in enumerate(found[1:], 1):
        seconds = config.ppo.rollout_size / float(each["time/decisions_per_second"])
        learner = float(each["time/ppo_share"]) * seconds
        yield Row(
            config.preset, config.ray_workers, 1 if config.ray else config.threads, config.ppo.n_envs, repeat,
            number, "wall", (seconds - learner) / config.ppo.n_steps, learner, load,
        )  # fmt: skip


def decisions_of(config: TrainConfig, repeat: int) -> Row:
    """As many decisions as a rollout has, in this process or with workers, on one thread each.

    Of each decision, the seconds that this process and the worker with the most of them had a core: how long it takes
    where everybody has one, whatever else runs here.
    """
    load, suite = os.getloadavg()[0], load_suite(config.suite).on("agent")
    env = environment(config, suite, config.load_parts("train", suite.datasets))
    slots, steps = config.ppo.n_envs, config.ppo.n_steps
    shape = (1 + steps, slots, *(env.single_action_space.shape or ()))
    actions = np.random.default_rng(repeat).uniform(-1, 1, shape).astype(np.float32)
    env.reset(seed=repeat)
    env.step(actions[0])
    workers = env.seconds if isinstance(env, ClusterVectorEnv) else lambda: [0.0]
    spent, before = 0.0, np.array(workers())
    for each in actions[1:]:
        start = time.process_time()
        env.step(each)
        spent += time.process_time() - start
        now = np.array(workers())
        spent += float((now - before).max())
        before = now
    env.close()
    return Row(config.preset, config.ray_workers, 1, slots, repeat, 0, "cpu", spent / steps, 0.0, load)


def travel(config: TrainConfig) -> Travel:
    """Weighs what goes to workers and comes back; times a call to one.

    Args:
        config: of a run without a cluster; one of this machine alone is started for the calls.
    """
    suite = load_suite(config.suite).on("agent")
    env = environment(config, suite, config.load_parts("train", suite.datasets))
    env.reset(seed=0)
    decisions, sizes, state = 16, [], 0
    for decision in range(decisions):
        actions = np.zeros((config.ppo.n_envs, *(env.single_action_space.shape or ())), np.float32)
        sizes.append(len(pickle.dumps((actions, env.step(actions)), protocol=5)))
        if decision == decisions // 2:
            state = len(pickle.dumps(env.state_dict(), protocol=5))
    env.close()
    with Cluster("local") as cluster:
        worker, times = Worker(cluster, cluster.share(_idle), 1), []
        for _ in range(1 + CALLS):
            start = time.perf_counter()
            worker.ask("spaces")
            worker.answer()
            times.append(time.perf_counter() - start)
        worker.close()
    return Travel(float(np.median(times[1:])), round(float(np.mean(sizes))), state)


class _Idle:
    """An environment that does nothing."""

    single_observation_space = single_action_space = None


def _idle(_: int) -> _Idle:
    return _Idle()


def text_of(rows: list[Row]) -> str:
    """The text of a file of rows."""
    names = [field.name for field in dataclasses.fields(Row)]
    lines = [",".join(names)]
    for row in rows:
        values = dataclasses.astuple(row)
        lines.append(",".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values))
    return "\n".join(lines) + "\n"
