"""The whole way of a new thing: an agent is trained with it, exported, deployed in a plain loop, and compared."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from tiny_runs import PPO, tiny_config

from lambda_rl import LearnedSchedule, Policy, RunFacts, load_policy
from lambda_rl.agents.comparison import CompareConfig, Comparison, run_comparison
from lambda_rl.agents.ppo.export import export_policy
from lambda_rl.agents.ppo.run import train

DEFAULTS: dict[str, Any] = {
    "width": 4, "train_size": 40, "val_size": 20, "batch_size": 8, "steps": 6, "decisions": 3,
}  # fmt: skip
FACTS = RunFacts(num_train=40, num_params=100, val_size=20, num_classes=2, epochs=2.0, lr_sum=1.0)


def suite_file(folder: Path, name: str = "new", **fields: object) -> Path:
    """Two tasks that have the new thing."""
    path = folder / f"{name}.yaml"
    tasks = [{"seed": 0}, {"seed": 5, "label_noise": 0.4}]
    path.write_text(yaml.safe_dump({"defaults": {**DEFAULTS, **fields}, "tasks": tasks}))
    return path


def trained_and_exported(folder: Path, suite: Path, **options: object) -> Path:
    """Trains for two rollouts on the suite, exports from the checkpoint; the policy file."""
    config = dataclasses.replace(
        tiny_config(folder, "agent", rollouts=2), suite=str(suite), validation_suite=str(suite), **options
    )
    run = train(config, show_progress=False)
    return export_policy(run, folder / "exported.safetensors")


def model() -> torch.nn.Module:
    """A user's network."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))


def losses(network: torch.nn.Module, steps: int) -> Iterator[torch.Tensor]:
    """The data loss of each step of a user's loop; λ's part and the update are the loop's own."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(steps, 16, 6, generator=generator)
    for batch in inputs:
        yield torch.nn.functional.cross_entropy(network(batch), (batch[:, 0] > 0).long())


def decided(schedule: LearnedSchedule, loss: torch.Tensor, progress: float) -> float:
    """A decision of the schedule, from what the loop has just seen."""
    value = float(loss.detach())
    return schedule.step(
        progress=progress, train_loss=value, val_loss=value + 0.1, train_accuracy=0.6, val_accuracy=0.5
    )


def compared(folder: Path, suite: Path, policy: Path, **options: Any) -> Comparison:
    """The policy against three constants and what else is asked for, untuned."""
    plain = {"families": (), "constants": (0.001, 0.01, 0.1), "tune": "none", "seeds": 1, "threads": 1}
    config = CompareConfig(
        out=str(folder / "compared"), policy=(str(policy),), suite=str(suite), **{**plain, **options}
    )
    comparison = run_comparison(config, Console(quiet=True))
    assert (folder / "compared" / "report.html").is_file()
    means = comparison.summary.schedules["learned"].tasks
    assert len(means) == 2
    assert all(0 <= mean <= 100 for mean in means.values())
    return comparison


make_deployed = functools.partial(LearnedSchedule, total_steps=9, decisions=3)


def loaded(path: Path) -> Policy:
    """The exported policy, read as a user reads it."""
    policy = load_policy(path)
    assert policy.card.decisions == DEFAULTS["decisions"]
    assert PPO.hidden[0] == len(policy.layers[0][1])
    return policy
