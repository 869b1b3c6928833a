"""The whole way of a new thing: an agent is trained with it, exported, deployed in a plain loop, and compared."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from tiny_runs import tiny_config

import lambda_rl
from lambda_rl import LearnedSchedule, Policy, RunFacts, load_policy
from lambda_rl.agents.comparison.command import CompareConfig, run_comparison
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.ppo.export import export_policy
from lambda_rl.agents.ppo.run import train

DEFAULTS: dict[str, Any] = {
    "width": 4, "train_size": 40, "val_size": 20, "batch_size": 8, "steps": 6, "decisions": 3,
}  # fmt: skip
TASKS = ({"seed": 0}, {"seed": 5, "label_noise": 0.4})
FACTS = RunFacts(num_train=40, num_params=100, val_size=20, num_classes=2, epochs=2.0, lr_sum=1.0)
STEPS = 9


def suite_file(
    folder: Path, name: str = "new", tasks: Sequence[Mapping[str, object]] = TASKS, **fields: object
) -> Path:
    """Two tasks that have the new thing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump({"defaults": {**DEFAULTS, **fields}, "tasks": list(tasks)}))
    return path


def trained_and_exported(folder: Path, suite: Path, **options: object) -> Path:
    """Trains for two rollouts on the suite, exports from the checkpoint; the policy file."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny = tiny_config(folder, "agent", rollouts=2)
    run = train(
        dataclasses.replace(tiny, suite=str(suite), validation_suite=str(suite), **options),
        show_progress=False,
    )
    return export_policy(run, folder / "exported.safetensors")


def loaded(path: Path) -> Policy:
    """The exported policy, read as a user reads it."""
    policy = load_policy(path)
    assert policy.card.decisions == DEFAULTS["decisions"]
    return policy


def model() -> torch.nn.Module:
    """A user's network."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))


def deployed(
    policy: Policy, optimizer: torch.optim.Optimizer | None = None, **options: Any
) -> LearnedSchedule:
    """A schedule of the policy for the user's loop."""
    meaning = None if policy.card.lam_meaning == "any" else policy.card.lam_meaning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # facts that are taken as usual are not what is tested
        return LearnedSchedule(optimizer, policy=policy, total_steps=STEPS, lam_meaning=meaning, **options)


def losses(network: torch.nn.Module) -> Iterator[tuple[float, torch.Tensor]]:
    """(Progress, data loss) of each step of the user's loop; λ's part and the update are the loop's own."""
    inputs = torch.randn(STEPS, 16, 6, generator=torch.Generator().manual_seed(1))
    for step, batch in enumerate(inputs, 1):
        yield step / STEPS, torch.nn.functional.cross_entropy(network(batch), (batch[:, 0] > 0).long())


def decided(schedule: LearnedSchedule, loss: torch.Tensor, progress: float) -> None:
    """Tells the schedule what the loop has just seen; λ stays within its range."""
    value = float(loss.detach())
    schedule.step(
        progress=progress, train_loss=value, val_loss=value + 0.1, train_accuracy=0.6, val_accuracy=0.5
    )
    assert schedule.lam_range[0] <= schedule.value <= schedule.lam_range[1]


def deploy(policy: Policy) -> LearnedSchedule:
    """The policy at the weight decay of SGD in a plain loop, to the end."""
    network = model()
    optimizer = torch.optim.SGD(lambda_rl.split_parameters(network, 0.01), lr=0.1)
    schedule = deployed(policy, optimizer, num_train=40, val_size=20, num_classes=2, batch_size=16)
    for progress, loss in losses(network):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decided(schedule, loss, progress)
        assert optimizer.param_groups[0]["weight_decay"] == schedule.value
    assert len(schedule.history) > 2
    return schedule


def compared(folder: Path, suite: Path, policy: Path, **options: Any) -> Comparison:
    """The policy against three constants and what else is asked for, untuned."""
    plain = {"families": (), "constants": (0.001, 0.01, 0.1), "tune": "none", "seeds": 1, "threads": 1}
    config = CompareConfig(
        out=str(folder / "compared"), policy=(str(policy),), suite=str(suite), **{**plain, **options}
    )
    comparison = run_comparison(config, Console(quiet=True))
    assert (folder / "compared" / "report.html").is_file()
    assert len(comparison.summary.schedules["learned"].tasks) == 2
    return comparison


def loss_of(comparison: Comparison, schedule: str) -> float | None:
    """Mean test loss under a schedule."""
    return comparison.summary.schedules[schedule].test_loss_mean
