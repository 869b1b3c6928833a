"""Fields that make runs differ in scale and rhythm: what plain torch does, and what schedules are told."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_envs import BASE, tiny_data
from torch import nn

from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import InnerRun, learning_rates, start_lam, start_log_lam
from lambda_rl.envs.training.trainer import Trainer

DATA = tiny_data()
FP64 = TrainerConfig(precision="fp64")
SHORT = replace(BASE, resolution=4, steps=20, decisions=4)


def plain_copy(task: Task, run: InnerRun) -> nn.Module:
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(48, task.width), nn.ReLU(), nn.Linear(task.width, 10)
    ).double()
    names = {"fc1.weight": "1.weight", "fc1.bias": "1.bias", "fc2.weight": "3.weight", "fc2.bias": "3.bias"}
    for ours, value in run.params.items():
        module.state_dict()[names[ours]].copy_(value)
    return module


@pytest.mark.parametrize(
    "fields",
    [
        {"init_scale": 0.2},
        {"input_scale": 3.0, "input_shift": -0.5},
        {"input_scale": 0.01, "input_shift": 1.0, "pixels": "mean-subtracted"},
        {"warmup": 0.3, "lr_schedule": "linear"},
        {"warmup": 0.5, "lr_schedule": "constant", "optimizer": "adamw", "learning_rate": 0.003},
    ],
    ids=str,
)
def test_a_run_is_that_of_a_plain_loop(fields: dict[str, Any]) -> None:
    task, lam = replace(SHORT, **fields), 0.01
    trainer = Trainer(DATA, "agent", FP64)
    run = trainer.start(task)
    module = plain_copy(task, run)
    decayed = [p for p in module.parameters() if p.ndim > 1]
    rest = [p for p in module.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": lam}, {"params": rest, "weight_decay": 0.0}]
    optimizer: torch.optim.Optimizer
    if task.optimizer == "sgd":
        optimizer = torch.optim.SGD(groups, lr=task.learning_rate, momentum=task.momentum)
    else:
        optimizer = torch.optim.Adam(groups, lr=task.learning_rate)
    rising, steps = round(task.warmup * task.steps), task.steps

    def factor(step: int) -> float:
        falls = {"linear": 1 - step / steps, "cosine": 0.5 * (1 + math.cos(math.pi * step / steps))}
        rise = min(1.0, (step + 1) / rising) if rising else 1.0
        return rise * falls.get(task.lr_schedule, 1.0)

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    images = F.avg_pool2d(DATA.images.float(), 8).round().double()
    mean, deviation = images.new_tensor(0.0), images.new_tensor(1.0)
    if task.pixels == "standardised":
        mean, deviation = (s.view(3, 1, 1) for s in trainer.data.statistics)
    else:
        mean = images.mean(0)
    inputs = task.input_scale * ((images - mean) / deviation + task.input_shift)
    for order, labels in zip(run.order, run.labels, strict=True):
        optimizer.zero_grad()
        F.cross_entropy(module(inputs[order]), labels).backward()
        optimizer.step()
        scheduler.step()
    for _ in range(task.decisions):
        measured = trainer.advance([run], [math.log10(lam)])
    for ours, theirs in zip(run.params.values(), module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-9, atol=1e-12)
    with torch.no_grad():
        loss = F.cross_entropy(module(inputs[run.val_index]), DATA.labels[run.val_index]).item()
    assert measured.val_loss[0] == pytest.approx(loss, rel=1e-9)


def test_initial_weights_are_scaled_and_biases_are_not() -> None:
    trainer = Trainer(DATA, "agent", FP64)
    one, other = trainer.start(SHORT), trainer.start(replace(SHORT, init_scale=0.1))
    for name, value in one.params.items():
        scale = 0.1 if name in one.network.penalised else 1.0
        torch.testing.assert_close(other.params[name], scale * value)
    assert torch.equal(one.order, other.order)


def test_runs_that_read_other_scales_are_not_one_stack() -> None:
    trainer = Trainer(DATA, "agent", FP64)
    tasks = [replace(SHORT, input_scale=s, init_scale=i) for s in (1.0, 2.0) for i in (1.0, 0.5)]
    runs = trainer.start_all(tasks)
    together = trainer.advance(runs, np.full(4, -2.0))
    assert len(trainer._stacks) == 2
    for i, task in enumerate(tasks):
        alone = Trainer(DATA, "agent", FP64)
        assert alone.advance([alone.start(task)], [-2.0]).val_loss[0] == pytest.approx(
            together.val_loss[i], rel=1e-9
        )


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear", "exponential", "step"])
def test_learning_rates(schedule: str) -> None:
    task = replace(SHORT, lr_schedule=schedule)
    plain, warmed = learning_rates(task), learning_rates(replace(task, warmup=0.25))
    assert plain[0] == task.learning_rate == plain.max()
    assert warmed[0].item() == pytest.approx(plain[0].item() / 5)
    assert torch.equal(warmed[4:], plain[4:])
    assert (warmed[:4] < plain[:4]).all()
    if schedule == "linear":
        torch.testing.assert_close(plain, task.learning_rate * torch.linspace(1, 0, 21, dtype=torch.float64))


def test_the_ratio_of_learning_rates_is_to_the_one_that_the_task_names() -> None:
    trainer = Trainer(DATA, "agent", FP64)
    run = trainer.start(replace(SHORT, lr_schedule="constant", warmup=0.5))
    assert run.lr_ratio == pytest.approx(0.1)
    trainer.advance([run], [-2.0])
    assert run.lr_ratio == pytest.approx(0.6)
    trainer.advance([run], [-2.0])
    assert run.lr_ratio == 1.0


def facts(**fields: Any) -> Any:
    return Trainer(DATA, "agent", FP64).start(replace(SHORT, **fields)).facts


def test_schedules_are_told_another_horizon_than_the_run_has() -> None:
    true, told = facts(), facts(horizon=2.0)
    assert told.epochs == pytest.approx(2 * true.epochs)
    assert told.lr_sum == pytest.approx(2 * true.lr_sum)
    trainer = Trainer(DATA, "agent", FP64)
    long, short = trainer.start_all([replace(SHORT, horizon=h) for h in (2.0, 0.5)])
    progress = []
    for _ in range(4):
        trainer.advance([long, short], [-2.0, -2.0])
        progress.append((long.progress, short.progress))
    assert progress == [(0.125, 0.5), (0.25, 1.0), (0.375, 1.0), (0.5, 1.0)]
    assert long.finished
    assert short.finished


@pytest.mark.parametrize(
    ("fields", "factor"),
    [({}, 10.0), ({"decay": "decoupled"}, 1.0), ({"optimizer": "adam"}, 1.0), ({"horizon": 2.0}, 20.0)],
    ids=str,
)
def test_the_nominal_sum_of_learning_rates(fields: dict[str, Any], factor: float) -> None:
    told = facts(lr_told="nominal", warmup=0.2, **fields)
    assert told.lr_sum == pytest.approx(factor * SHORT.learning_rate * SHORT.steps)
    assert facts(lr_told="sum", warmup=0.2, **fields).lr_sum < told.lr_sum


def test_the_start_is_said_by_lambda_or_by_kappa() -> None:
    told = facts()
    assert start_lam(replace(SHORT, initial_lam=0.03), told) == 0.03
    task = replace(SHORT, initial_kappa=2.0)
    assert start_lam(task, told) * told.lr_sum == pytest.approx(2.0)
    assert start_log_lam(task, told) == pytest.approx(math.log10(2.0 / told.lr_sum))


def test_facts_tell_of_adaptive_optimizers_and_of_norms() -> None:
    assert (facts().adaptive, facts().normalised) == (False, False)
    normed = facts(optimizer="adamw", network_options=(("norm", "layer"),))
    assert (normed.adaptive, normed.normalised) == (True, True)
    resnet = facts(network="resnet9", width=1, resolution=32, batch_size=2, train_size=10)
    assert resnet.normalised
