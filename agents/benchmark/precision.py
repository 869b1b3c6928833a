"""Whether bf16 gives the same final accuracy as fp32: the same runs in both, seed by seed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from lambda_rl.agents.benchmark.targets import PRECISION
from lambda_rl.agents.comparison.statistics import mean_interval
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import Trainer, to_log


def precision_gap(
    data: ImageData, test: ImageData, task: Task, seeds: int, config: TrainerConfig
) -> dict[str, Any]:
    """Final test accuracies in fp32 and bf16 with λ held at ``task.initial_lam``, and their differences.

    Args:
        data: training images.
        test: test images.
        task: what is trained.
        seeds: runs in each format; the same images, initial weights and minibatches in both.
        config: device, threads, whether to compile.

    Returns:
        ``fp32`` and ``bf16``, accuracies by seed; ``difference``, the mean of bf16 minus fp32, and ``interval``, its
        95 % interval over seeds (Student's t); ``within``, whether that lies within ±``targets.PRECISION``.
    """
    found: dict[str, Any] = {"task": dataclasses.asdict(task)}
    for precision in ("fp32", "bf16"):
        trainer = Trainer(data, "held-out", dataclasses.replace(config, precision=precision), outer_size=0)
        runs = [trainer.start(task.with_seed(seed)) for seed in range(seeds)]
        for _ in range(task.decisions):
            trainer.advance(runs, np.full(seeds, to_log(task.initial_lam)))
        found[precision] = trainer.test(runs, trainer.source(task).tested(test))[1].tolist()
        trainer.close()
    difference = np.array(found["bf16"]) - np.array(found["fp32"])
    low, high = mean_interval(difference)
    found |= {"difference": float(difference.mean()), "interval": [low, high]}
    return found | {"within": bool(low >= -PRECISION and high <= PRECISION)}
