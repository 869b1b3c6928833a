"""What a stack on a GPU costs besides time, and whether a captured interval gives what its steps give one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from lambda_rl.agents.benchmark.opponents import Setting
from lambda_rl.agents.benchmark.ours import make_env
from lambda_rl.envs.tasks.suites import TaskList
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import Trainer

WAYS = {"DtoH": "to the processor", "HtoD": "to the GPU"}
"""Directions of copies, as the profiler writes them."""


class Memory:
    """The most that tensors took on a GPU since this was made, beyond what they took then; 0 on a CPU.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)

    @property
    def bytes(self) -> int:
        """So far."""
        if self._device.type != "cuda":
            return 0
        return int(torch.cuda.max_memory_allocated(self._device)) - self._before


def copies(call: Callable[[], object]) -> dict[str, int]:
    """How many copies between processor and GPU a call makes, by direction of :data:`WAYS`, as the profiler counts."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        call()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
    names = [event.key for event in profile.key_averages() for _ in range(event.count)]
    return {way: sum(name.startswith(f"Memcpy {way}") for name in names) for way in WAYS}


def transfers(task: Task, setting: Setting, config: TrainerConfig) -> dict[str, int]:
    """:func:`copies` of a decision in the middle of an episode, all slots together."""
    env = make_env(TaskList((task,)), setting, config)
    env.reset(seed=0)
    action = np.zeros((setting.slots, 1), np.float32)
    env.step(action)  # captures
    found = copies(lambda: env.step(action))
    env.close()
    return found


def captured_against_not(task: Task, setting: Setting, config: TrainerConfig) -> dict[str, Any]:
    """An episode of all slots with captured intervals and with steps one by one, from the same seeds.

    Returns:
        ``same``: whether all that is measured is the same to the last bit; ``difference``: the largest relative one.
    """
    found = []
    for capture in (True, False):
        options = TrainerConfig(config.device, config.precision, capture=capture)
        trainer = Trainer(setting.images, "agent", options, outer_size=setting.outer_size)
        runs = [trainer.start(task.with_seed(seed)) for seed in range(setting.slots)]
        log_lam = np.linspace(-4.0, -1.0, setting.slots)
        measured = [vars(trainer.advance(runs, log_lam)) for _ in range(task.decisions)]
        found.append(np.array([[row[name] for name in row if name != "finite"] for row in measured]))
        trainer.close()
    one, other = found
    scale = np.maximum(np.abs(one), np.abs(other)) + 1e-12
    return {
        "same": bool(np.array_equal(one, other, equal_nan=True)),
        "difference": float(np.nanmax(np.abs(one - other) / scale)),
    }
