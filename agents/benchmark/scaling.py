"""How the cost of a network-step grows with N, k, width and data, and what a decision is made of."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from lambda_rl.agents.benchmark.opponents import Setting
from lambda_rl.agents.benchmark.ours import make_env
from lambda_rl.agents.benchmark.timing import Spans
from lambda_rl.agents.presenting.style import GREY, PALETTE, dress, new_figure
from lambda_rl.envs.data.split import split_data
from lambda_rl.envs.networks import NETWORKS
from lambda_rl.envs.tasks.suites import TaskList
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training import trainer as trainer_module
from lambda_rl.envs.training.interval import Interval
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import Trainer
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

SWEEPS: dict[str, tuple[int, ...]] = {
    "slots": (1, 2, 4, 8, 16, 32, 64),
    "interval": (2, 5, 10, 20, 40),
    "width": (4, 8, 16, 32, 64, 128),
    "val_size": (50, 100, 300, 1000, 2000),
    "train_size": (300, 1000, 5000, 20_000),
}
"""What is varied, one at a time, and its values; ``interval`` is k, the steps between two decisions."""

WIDEST = 32
"""Of a convolutional network; wider ones would take too long."""

LABELS = {
    "slots": "N, inner runs side by side",
    "interval": "k, steps between decisions",
    "width": "width: hidden units, filters",
    "val_size": "validation images",
    "train_size": "training images",
}


def _seconds_per_decision(env: CifarLambdaVectorEnv, decisions: int) -> float:
    action = np.zeros((env.num_envs, 1), np.float32)
    env.reset(seed=0)
    for _ in range(2):  # warm: compiles
        env.step(action)
    times = []
    for _ in range(decisions):
        start = time.perf_counter()
        env.step(action)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def scaling(task: Task, setting: Setting, config: TrainerConfig) -> dict[str, Any]:
    """Microseconds per network-step in the middle of an episode, everything at a decision included.

    Args:
        task: what is trained where nothing is varied.
        setting: the same of images and N; tiny: only the first value of each sweep.
        config: device, precision, threads, whether to compile.

    Returns:
        By sweep: ``values``, ``microseconds``, and ``base``, the value where it is not varied.
    """
    base = {
        "slots": setting.slots, "interval": task.steps // task.decisions, "width": task.width,
        "val_size": task.val_size, "train_size": task.train_size,
    }  # fmt: skip
    split = split_data(len(setting.images.labels), "agent")
    most = {"train_size": len(split.inner_train), "val_size": len(split.inner_val)}
    if NETWORKS[task.network].convolutional:
        most["width"] = WIDEST
    found: dict[str, Any] = {}
    for name, values in SWEEPS.items():
        fitting = [value for value in values if value <= most.get(name, value)][: 1 if setting.tiny else None]
        cost = []
        for value in fitting:
            now = {**base, name: value}
            decisions = 4 if setting.tiny else max(5, min(15, 200 // now["interval"]))
            varied = dataclasses.replace(
                task, width=now["width"], val_size=now["val_size"], train_size=now["train_size"],
                steps=now["interval"] * (decisions + 3), decisions=decisions + 3,
            )  # fmt: skip
            env = make_env(TaskList((varied,)), dataclasses.replace(setting, slots=now["slots"]), config)
            seconds = _seconds_per_decision(env, decisions)
            env.close()
            cost.append(1e6 * seconds / (now["slots"] * now["interval"]))
        found[name] = {"values": fitting, "microseconds": cost, "base": base[name]}
    return found


def draw_scaling(found: dict[str, dict[str, Any]]) -> Figure:
    """One panel a sweep for each way to compute.

    Args:
        found: what :func:`scaling` gave, by label.
    """
    sweeps = list(next(iter(found.values())))
    figure = new_figure(2.4 * len(sweeps), 3.2)
    axes = figure.subplots(1, len(sweeps), sharey=True, squeeze=False)[0]
    for axis, sweep in zip(axes, sweeps, strict=True):
        dress(axis)
        for (label, rows), colour in zip(found.items(), PALETTE, strict=False):
            row = rows[sweep]
            axis.plot(row["values"], row["microseconds"], marker="o", markersize=4, label=label, color=colour)
        axis.axvline(row["base"], color=GREY, linewidth=0.8, linestyle=":")
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlabel(LABELS[sweep])
        axis.set_xticks(row["values"], [f"{value:,}" for value in row["values"]], fontsize=7, rotation=45)
        axis.minorticks_off()
    axes[0].set_ylabel("µs per network-step")
    axes[0].legend(fontsize=7, frameon=False)
    return figure


def profile_decision(
    task: Task, setting: Setting, config: TrainerConfig, *, decisions: int = 10
) -> dict[str, Any]:
    """What a decision's time is spent on, in the middle of an episode.

    Returns:
        ``wall``, seconds of a decision; ``threads``; ``parts``, thread-seconds a decision of each part, their sum with
        ``waiting`` (threads without work, and everything that is done between stacks) being wall x threads.
    """
    kept = [
        (Interval, "_minibatch"), (Interval, "_all_steps"), (Trainer, "_train"), (Trainer, "_evaluate"),
        (Trainer, "_advance"), (trainer_module, "weight_measures"),
    ]  # fmt: skip
    before = [(owner, name, getattr(owner, name)) for owner, name in kept]
    spans = {name: Spans() for _, name in kept}
    steps = task.steps // task.decisions * (decisions + 3)
    longer = dataclasses.replace(task, steps=steps, decisions=decisions + 3)
    env = make_env(TaskList((longer,)), setting, config)
    action = np.zeros((setting.slots, 1), np.float32)
    try:
        for owner, name, function in before:
            setattr(owner, name, spans[name].wrap(function))
        env.reset(seed=0)
        for _ in range(2):
            env.step(action)
        for each in spans.values():
            each.summed()
        start = time.perf_counter()
        for _ in range(decisions):
            env.step(action)
        wall = (time.perf_counter() - start) / decisions
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)
        env.close()
    spent = {name: each.summed() / decisions for name, each in spans.items()}
    parts = {
        "gathering minibatches": spent["_minibatch"],
        "forward, backward, update": spent["_all_steps"] - spent["_minibatch"],
        "laying out the interval": spent["_train"] - spent["_all_steps"],
        "evaluation": spent["_evaluate"],
        "norms": spent["weight_measures"],
        "collecting": spent["_advance"] - spent["_train"] - spent["_evaluate"] - spent["weight_measures"],
    }
    parts["waiting, and the rest of the environment"] = wall * config.threads - spent["_advance"]
    return {"wall": wall, "threads": config.threads, "parts": parts}


def operators(task: Task, setting: Setting, config: TrainerConfig, *, most: int = 8) -> list[dict[str, Any]]:
    """The operators of torch that a decision spends its time in, by ``torch.profiler``, on one thread.

    Returns:
        Rows with ``name``, ``share`` of all operators' own time, ``calls``, those with the largest share first.
    """
    env = make_env(TaskList((task,)), setting, dataclasses.replace(config, threads=1))
    action = np.zeros((setting.slots, 1), np.float32)
    env.reset(seed=0)
    env.step(action)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        env.step(action)
    env.close()
    rows = sorted(profile.key_averages(), key=lambda row: -row.self_cpu_time_total)
    total = sum(row.self_cpu_time_total for row in rows)
    return [
        {"name": row.key, "share": row.self_cpu_time_total / total, "calls": row.count} for row in rows[:most]
    ]


def anatomy(task: Task, setting: Setting, options: Mapping[str, TrainerConfig]) -> dict[str, Any]:
    """All of the above for some ways to compute, by label.

    Returns:
        ``scaling``, ``profile`` and ``operators``, each by label.
    """
    measures: dict[str, Callable[..., Any]] = {
        "scaling": scaling, "profile": profile_decision, "operators": operators,
    }  # fmt: skip
    return {
        name: {label: measure(task, setting, config) for label, config in options.items()}
        for name, measure in measures.items()
    }
