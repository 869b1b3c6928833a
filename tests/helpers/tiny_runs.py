"""The smallest runs that still have everything: a training, for tests of training and resuming, and foreign loops."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from lambda_rl.agents.foreign import selected
from lambda_rl.agents.foreign.task import ForeignTask
from lambda_rl.agents.ppo.config import PPOConfig, TrainConfig
from lambda_rl.agents.ppo.presets import preset

SUITE = """
defaults: {width: 4, train_size: 40, val_size: 20, batch_size: 8, steps: 6, decisions: 3}
tasks:
  - {learning_rate: 0.05}
  - {learning_rate: 0.2, label_noise: 0.4, initial_lam: 0.1}
"""

ROLLOUTS = 3
"""Of the runs that tests/agents/conftest.py makes."""

PPO = PPOConfig(n_envs=4, n_steps=6, batch_size=12, n_epochs=2)


def tiny_config(folder: Path, name: str, rollouts: int = 4, **changes: object) -> TrainConfig:
    """A run of 24 decisions a rollout."""
    suite = folder / "tiny.yaml"
    suite.write_text(SUITE)
    options: dict = {
        "name": name,
        "out": str(folder / "runs"),
        "suite": str(suite),
        "total_decisions": rollouts * PPO.rollout_size,
        "threads": 1,
        "wandb": "disabled",
        "eval_every": 2,
        "eval_seeds": 1,
        "ppo": PPO,
        **changes,
    }
    return dataclasses.replace(preset("quick"), **options)  # as the command line does


def policy_arrays(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "policy.safetensors")


def same_policy(one: Path, other: Path) -> bool:
    left, right = policy_arrays(one), policy_arrays(other)
    return left.keys() == right.keys() and all(np.array_equal(left[key], right[key]) for key in left)


def metrics(folder: Path, timed: bool = False) -> list[dict[str, str]]:
    """Rows of metrics.csv; without the columns that tell the time, unless asked for."""
    with (folder / "metrics.csv").open(newline="") as file:
        return [
            {k: v for k, v in row.items() if timed or not k.startswith("time/")}
            for row in csv.DictReader(file)
        ]


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def short(name: str, **changes: object) -> ForeignTask:
    """A task of the foreign loops for two epochs with four calls, or with other changes."""
    return dataclasses.replace(selected([name])[0], **{"epochs": 2, "calls": 4, **changes})  # type: ignore[arg-type]
