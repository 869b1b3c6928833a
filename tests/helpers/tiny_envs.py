"""The smallest data, tasks and environments that still have everything, for the tests of what is controlled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lambda_rl.envs.data import ImageData
from lambda_rl.envs.tasks.suites import Suite, TaskSpace
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.tasks.variations import Choice, LogUniform, TimesLogUniform

BASE = Task(width=4, train_size=100, val_size=20, batch_size=8, steps=12, decisions=4)

DISTRIBUTION = Suite(
    "tiny",
    "agent",
    TaskSpace(
        bases=(BASE, replace(BASE, width=6, decisions=3)),
        vary={
            "train_size": LogUniform((50, 200)),
            "val_size": LogUniform((10, 30)),
            "label_noise": Choice((0.0, 0.4)),
            "learning_rate": TimesLogUniform((0.5, 2.0)),
            "initial_lam": LogUniform((1e-4, 1.0)),
        },
    ),
)


def tiny_data(count: int = 600, classes: int = 10, seed: int = 0) -> ImageData:
    """Random images whose brightness tells something of the class."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    noise = torch.randint(0, 160, (count, 3, 32, 32), generator=generator)
    images = (noise + labels.view(-1, 1, 1, 1) * (90 // classes)).to(torch.uint8)
    return ImageData("tiny", images, labels, classes, f"tiny-{seed}")


def actions(steps: int, slots: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """``[steps, slots, 1]`` in [-1, 1]."""
    return np.random.default_rng(seed).uniform(-1, 1, (steps, slots, 1)).astype(np.float32)


def trace(env: Any, moves: npt.NDArray[np.float32], seed: int | None = 0) -> list[npt.NDArray[Any]]:
    """Everything that a vector environment returns over the moves, but infos."""
    out = [env.reset(seed=seed)[0]] if seed is not None else []
    for move in moves:
        obs, reward, terminated, truncated, _ = env.step(move)
        out += [obs, reward, terminated, truncated]
    return out


def same(one: list[npt.NDArray[Any]], other: list[npt.NDArray[Any]]) -> bool:
    """Bit for bit."""
    return len(one) == len(other) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(one, other, strict=True)
    )
