"""Our vector environment as SB3 drives it: rows, its own cost, what it recompiles, and how near the kernels it is."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch._dynamo.utils

from lambda_rl.agents.benchmark.machine.achievable import FastestStep
from lambda_rl.agents.benchmark.machine.roofline import evaluations_per_step
from lambda_rl.agents.benchmark.opponents import Setting
from lambda_rl.agents.benchmark.timing import Row, Spans
from lambda_rl.agents.ppo.vec_env import SB3VecEnv
from lambda_rl.envs.data.split import split_data
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import Placement, TrainerConfig
from lambda_rl.envs.training.run import network_of
from lambda_rl.envs.training.trainer import Trainer
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

OURS = "ours"
"""What our rows begin with."""

FASTEST = "fastest kernels"
"""What these rows begin with."""


def make_env(
    tasks: TaskList, setting: Setting, config: TrainerConfig, copies: int = 1
) -> CifarLambdaVectorEnv:
    """Slots that run these tasks, each episode with another seed; so many slots in a row the same."""
    env = CifarLambdaVectorEnv(
        setting.slots,
        suite=Suite("benchmark", "agent", tasks),
        data=setting.images,
        reward=RewardConfig(outer_size=setting.outer_size),
        device=config.device,
        precision=config.precision,
        threads=config.threads,
        compile=config.compile,
        copies=copies,
    )
    env._core.trainer.config = config  # of which capturing is no option of an environment
    return env


def our_rows(
    task: Task, setting: Setting, options: Iterable[TrainerConfig]
) -> Iterator[tuple[str, Row, TrainerConfig]]:
    """(Label, row, how it computes) for each way to compute, each made when it is asked for."""
    for config in options:
        label = f"{OURS}, {config.precision}{', compiled' if config.compile else ''}, N={setting.slots}"
        yield label, _row(task, setting, config), config


def _row(task: Task, setting: Setting, config: TrainerConfig) -> Row:
    """Our environment through SB3's interface; a run of the row is one episode in every slot."""
    slots = setting.slots
    vec_env = SB3VecEnv(make_env(TaskList((task,)), setting, config))
    vec_env.seed(0)
    vec_env.reset()
    action = np.zeros((slots, 1), np.float32)

    def episode() -> int:
        for _ in range(task.decisions):
            vec_env.step(action)
        return slots * task.steps

    return Row(episode, close=vec_env.close, precision=config.precision)


def own_cost(task: Task, setting: Setting, config: TrainerConfig) -> dict[str, float]:
    """The share of a decision that our environment spends outside training and evaluation.

    That is all but ``Trainer._train`` and ``Trainer._evaluate``: the control law, stacking the networks and taking
    them apart, norms, features, rewards, infos, SB3's adapter, and new runs where an episode ended.

    Returns:
        Medians over the episodes after the first: ``decision``, the share in decisions that end no episode, and
        ``episode``, the share in a whole episode with the start of the next one in every slot.
    """
    env = make_env(TaskList((task,)), setting, config)
    trainer: Trainer = env._core.trainer
    spans = Spans()
    for name in ("_train", "_evaluate"):
        setattr(trainer, name, spans.wrap(getattr(trainer, name)))
    vec_env = SB3VecEnv(env)
    vec_env.seed(0)
    vec_env.reset()
    action = np.zeros((setting.slots, 1), np.float32)
    shares = []
    for _ in range(2 if setting.tiny else 4):
        times = []
        spans.covered()
        for _ in range(task.decisions):
            start = time.perf_counter()
            vec_env.step(action)
            times.append((time.perf_counter() - start, spans.covered()))
        total, inside = np.array(times).T
        shares.append((1 - inside[:-1].sum() / total[:-1].sum(), 1 - inside.sum() / total.sum()))
    vec_env.close()
    decision, episode = np.median(shares[1:], 0)
    return {"decision": float(decision), "episode": float(episode)}


def recompilations(
    network: str, setting: Setting, *, changes: int = 1000, resets: int = 100
) -> dict[str, int]:
    """How often a compiled environment compiles again while λ changes and slots are reset, after its first step.

    Eight small networks, one step a decision. The new tasks differ in size, label noise, learning rate and momentum, as
    those of a suite do.

    Args:
        network: their architecture.
        setting: images.
        changes: decisions, each with another λ in every slot.
        resets: single slots that get a new task meanwhile, besides those whose episode ended.
    """
    task = Task(
        network, width=4, batch_size=8, steps=changes + 1, decisions=changes + 1, train_size=64, val_size=16
    )
    slots = 8
    small = dataclasses.replace(setting, outer_size=16, slots=slots)
    env = make_env(TaskList((task,)), small, TrainerConfig(precision="fp32", compile=True))
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    env.step(np.zeros((slots, 1), np.float32))  # compiles
    before = compiled_graphs()
    every = max(1, changes // resets)
    done = 0
    for change in range(changes):
        if change % every == 0 and done < resets:
            done += 1
            drawn = dataclasses.replace(
                task, train_size=int(rng.integers(32, 96)), label_noise=0.2, momentum=float(rng.uniform(0.5, 0.9)),
                learning_rate=float(rng.uniform(0.01, 0.1)), seed=int(rng.integers(10**6)),
            )  # fmt: skip
            env._core.begin([change % slots], [drawn])
        env.step(rng.uniform(-1, 1, (slots, 1)).astype(np.float32))
    env.close()
    return {"changes": changes, "resets": done, "recompilations": compiled_graphs() - before}


def compiled_graphs() -> int:
    """Graphs that ``torch.compile`` has made in this process."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def evaluated_per_step(task: Task, setting: Setting) -> float:
    """Images that a row evaluates for each training step, see :func:`.machine.roofline.evaluations_per_step`."""
    outer_all = len(split_data(len(setting.images.labels), "agent").outer_val)
    return evaluations_per_step(task, setting.outer_size, outer_all)


def fastest_rows(
    task: Task, setting: Setting, config: TrainerConfig, evaluated: float
) -> Iterator[tuple[str, Row, FastestStep]]:
    """(Label, row, what it runs) for each precision, in stacks as large as ours, each made when it is asked for."""
    network = network_of(task, setting.images.num_classes, setting.images.images.shape[1])
    count = Placement(config).chunk_sizes(network, setting.slots)[0]
    for precision in setting.precisions:
        places = (count, setting.threads, setting.device)
        step = FastestStep.of(task, network, precision, evaluated, places=places, tiny=setting.tiny)
        yield f"{FASTEST}, {precision}", Row(step.run, close=step.close, precision=precision), step


def compare_with_fastest(timed: Mapping[str, dict[str, Any]], steps: Mapping[str, FastestStep]) -> None:
    """Adds to our rows their ``share_of_fastest``, by time, and ``cpu_share_of_fastest``, by this process's CPU time.

    Shares are taken repeat by repeat; the median counts. By CPU time what other processes take is left out, and so is
    the waiting of threads for each other; on one thread of a quiet machine both are the same.

    Args:
        timed: rows as timed, with their ``precision``.
        steps: by precision.
    """
    for label, row in timed.items():
        if not label.startswith(OURS) or row["precision"] not in steps:
            continue
        fastest = timed[f"{FASTEST}, {row['precision']}"]
        row["share_of_fastest"] = float(np.median(np.array(row["each"]) / np.array(fastest["each"])))
        step = steps[row["precision"]]
        least = np.array(step.of_each_run) * step.threads
        row["cpu_share_of_fastest"] = float(np.median(least / np.array(row["cpu"])))
