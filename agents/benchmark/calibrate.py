"""Measures how many networks side by side are fastest here, see :mod:`lambda_rl.envs.hardware.calibration`."""

from __future__ import annotations

import statistics
import time

import numpy as np

from lambda_rl.envs.data import ImageData
from lambda_rl.envs.hardware.calibration import stack_kind
from lambda_rl.envs.hardware.device import resolve_device, resolve_precision
from lambda_rl.envs.networks import Network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import network_of
from lambda_rl.envs.training.trainer import Trainer


def sizes_to_try(network: Network) -> tuple[int, ...]:
    """From a quarter of what the network says is usual to twice as much, by factors of two."""
    usual = network.side_by_side
    return tuple(sorted({max(1, usual // 4), max(1, usual // 2), usual, 2 * usual}))


def calibrate(
    data: ImageData, task: Task, config: TrainerConfig, *, sizes: tuple[int, ...] = (), repeats: int = 5
) -> tuple[str, dict[int, float]]:
    """Network-steps a second by the size of a stack, decisions interleaved, the median of some.

    Args:
        data: images.
        task: what is trained.
        config: device, precision, threads, whether to compile.
        sizes: what to try; none: :func:`sizes_to_try`.
        repeats: decisions that are timed of each.

    Returns:
        What the size is kept by, and the speeds.
    """
    device = resolve_device(config.device)
    network = network_of(task, data.num_classes, data.images.shape[1])
    compute = resolve_precision(config.precision, device, network.convolutional)[1]
    kind = stack_kind(network, compute, config.compile)
    tried = sizes or sizes_to_try(network)
    count = max(tried) * config.threads  # as many runs for each size, which fill the largest
    trainers = {size: Trainer(data, "agent", config, outer_size=0, sizes={kind: size}) for size in tried}
    runs = {
        size: trainer.start_all([task.with_seed(seed) for seed in range(count)])
        for size, trainer in trainers.items()
    }
    log_lam = np.full(count, -2.0)
    seconds: dict[int, list[float]] = {size: [] for size in tried}
    for repeat in range(min(repeats + 1, task.decisions)):
        for size, trainer in trainers.items():
            start = time.perf_counter()
            trainer.advance(runs[size], log_lam)
            if repeat:  # the first one compiles
                seconds[size].append(time.perf_counter() - start)
    for trainer in trainers.values():
        trainer.close()
    steps = count * task.boundary(1)
    return kind, {size: steps / statistics.median(each) for size, each in seconds.items()}
