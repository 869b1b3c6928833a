"""A plain training loop under a schedule gives the λ of the environment, decision by decision."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_envs import tiny_data
from tiny_schedules import CARD15, KAPPA_CARD, make_policy
from torch import nn

import lambda_rl
from lambda_rl import LearnedSchedule, Policy
from lambda_rl.envs.env import CifarLambdaEnv
from lambda_rl.envs.judging import ScheduleJob, run_schedules
from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import start_lam

MLP = Task(network="mlp", width=16, train_size=700, val_size=80, steps=300, decisions=15, initial_lam=0.02)

CNN = Task(
    network="cnn3", width=4, train_size=500, val_size=60, steps=210, decisions=20, batch_size=32,
    learning_rate=0.02, label_noise=0.2,
)  # fmt: skip

SGD_KAPPA = dataclasses.replace(MLP, lr_told="nominal", initial_kappa=2.0)
ADAMW_KAPPA = dataclasses.replace(
    SGD_KAPPA, optimizer="adamw", decay="decoupled", learning_rate=0.003, warmup=0.1, lr_schedule="linear"
)
ADAM_KAPPA = dataclasses.replace(ADAMW_KAPPA, decay="coupled", init_scale=0.5)
OPTIMIZERS = {
    ("sgd", "coupled"): torch.optim.SGD,
    ("adamw", "decoupled"): torch.optim.AdamW,
    ("adamw", "coupled"): torch.optim.Adam,
}


def environment(task: Task, policy: Policy, precision: str) -> tuple[list[float], dict[str, Any]]:
    """λ at each decision in the environment, and all that a plain loop needs to train the same network."""
    data = tiny_data(2000)
    env = CifarLambdaEnv(
        Suite("one", "agent", TaskList((task,))), data, policy.card.control, precision=precision,
        unit=policy.card.unit, features=policy.card.features,
    )  # fmt: skip
    obs, _ = env.reset(seed=0, options={"task": task})
    run, images = env._core.run(0), env._core.trainer.data
    dtype = next(iter(run.params.values())).dtype
    images.prepare(task.resolution)
    rows = make_network(NetworkSpec("mlp", 1, task.resolution))  # reads images as they are

    def plain(index: torch.Tensor) -> torch.Tensor:
        return images.evaluation_set(index, rows, dtype).inputs.unflatten(1, (3, *[task.resolution] * 2))

    given = {
        "x": plain(run.order.flatten()).unflatten(0, run.order.shape), "y": run.labels,
        "val": (plain(run.val_index), images.labels[run.val_index]),
        "rates": run.learning_rates.tolist(), "facts": run.facts,
        "params": {name: value.clone() for name, value in run.network.exported(run.params).items()},
    }  # fmt: skip
    trace, done = [], False
    while not done:
        obs, _, done, _, info = env.step(policy.act(obs))
        trace.append(float(env._core.log_lam[0]))
        assert not info.get("diverged", False)
    env.close()
    return trace, given


class PlainCNN(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 5, padding=2)
        self.fc1, self.fc2 = nn.Linear(width * 64, 4 * width), nn.Linear(4 * width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.relu(self.fc1(F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1))))


class PlainMLP(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(3 * 256, width), nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def plain_loop(task: Task, policy: Policy, given: dict[str, Any], calls: str, **options: Any) -> list[float]:
    """λ at each decision of a loop as a user writes it: torch.nn, torch.optim.SGD, and a schedule."""
    model = (PlainMLP if task.network == "mlp" else PlainCNN)(task.width).to(given["x"].dtype)
    model.load_state_dict(given["params"])
    groups = lambda_rl.split_parameters(model, 1e-4)
    momentum: dict[str, Any] = (
        {"momentum": task.momentum} if task.optimizer == "sgd" else {"betas": (task.momentum, 0.999)}
    )
    optimizer = OPTIMIZERS[task.optimizer, task.decay](groups, lr=task.learning_rate, **momentum)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: given["rates"][i] / task.learning_rate)
    if task.lr_told == "sum":
        options["lr_sum"] = given["facts"].lr_sum
    schedule = LearnedSchedule(
        optimizer, policy=policy, total_steps=task.steps, num_train=task.train_size, val_size=task.val_size,
        num_classes=10, batch_size=task.batch_size, initial_lam=start_lam(task, given["facts"]),
        model=model, guard=False, **options,
    )  # fmt: skip
    assert schedule.facts == given["facts"]
    losses, right = [], []
    boundaries = {task.boundary(i) for i in range(1, task.decisions)}
    for step in range(task.steps):
        logits = model(given["x"][step])
        loss = F.cross_entropy(logits, given["y"][step])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        losses.append(loss.detach())
        right.append((logits.argmax(1) == given["y"][step]).to(loss.dtype).mean())
        signals: dict[str, torch.Tensor] = {}
        if step + 1 in boundaries:
            with torch.no_grad():
                guess = model(given["val"][0])
            signals["val_loss"] = F.cross_entropy(guess.float(), given["val"][1])
            signals["val_accuracy"] = (guess.argmax(1) == given["val"][1]).float().mean()
        if calls == "every step":
            schedule.step(train_loss=losses[-1], train_accuracy=right[-1], **signals)
        elif signals:
            means = {"train_loss": torch.stack(losses).mean(), "train_accuracy": torch.stack(right).mean()}
            schedule.step(**means, **signals)
            losses, right = [], []
    assert optimizer.param_groups[1]["weight_decay"] == 0
    return [math.log10(row["lam"]) for row in schedule.history if row["progress"] < 1]


@pytest.mark.parametrize(
    ("task", "precision", "calls", "options"),
    [
        (MLP, "fp64", "every interval", {}),
        (MLP, "fp32", "every interval", {}),
        (MLP, "fp64", "every step", {}),
        # 20 decisions under a policy of 15, at steps rounded to 10 or 11: said or not
        (CNN, "fp64", "every interval", {"decisions": 20}),
        (CNN, "fp64", "every interval", {}),
        (CNN, "fp32", "every interval", {}),
    ],
    ids=["mlp", "mlp-fp32", "mlp-every-step", "cnn3-20", "cnn3", "cnn3-fp32"],
)
def test_plain_sgd_loop_gives_the_environments_trace(
    task: Task, precision: str, calls: str, options: dict[str, Any]
) -> None:
    policy = make_policy(3, card=CARD15)
    trace, given = environment(task, policy, precision)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # no safety rule may fire
        mine = plain_loop(task, policy, given, calls, **options)
    assert len(trace) == task.decisions
    assert np.ptp(trace) > 0.3  # λ did move
    # In single precision the two networks sum in another order, training multiplies the difference, and so does a
    # policy of random weights.
    assert mine == pytest.approx(trace, abs=1e-6 if precision == "fp64" else 5e-5)


@pytest.mark.parametrize("calls", ["every interval", "every step"])
@pytest.mark.parametrize("task", [SGD_KAPPA, ADAMW_KAPPA, ADAM_KAPPA], ids=["sgd", "adamw", "adam"])
def test_so_does_a_policy_that_moves_kappa(task: Task, calls: str) -> None:
    policy = make_policy(4, card=KAPPA_CARD, bias=-0.1)
    trace, given = environment(task, policy, "fp64")
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        mine = plain_loop(task, policy, given, calls)
    assert len(trace) == task.decisions
    assert np.ptp(trace) > 0.3
    assert mine == pytest.approx(trace, abs=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
@pytest.mark.parametrize("task", [MLP, CNN], ids=["mlp", "cnn3"])
def test_so_does_the_shipped_policy(task: Task, precision: str) -> None:
    policy = lambda_rl.load_policy()
    trace, given = environment(task, policy, precision)
    mine = plain_loop(task, policy, given, "every interval", decisions=task.decisions)
    assert np.ptp(trace) > 0.3
    # in fp32 a policy amplifies rounding: of the default one by 10 to 20 over a run
    assert mine == pytest.approx(trace, abs=1e-6 if precision == "fp64" else 3e-5)


def test_the_runner_of_comparisons_gives_it_too() -> None:
    lam = make_policy(3, bias=-0.3, card=CARD15)  # else λ is at the upper end too long, see below
    kappa = make_policy(4, bias=-0.1, card=KAPPA_CARD)
    short = dataclasses.replace(MLP, steps=47, decisions=40)
    for task, policy in ((MLP, lam), (short, lam), (CNN, lam), (ADAM_KAPPA, kappa)):
        trace, _ = environment(task, policy, "fp64")

        def make(policy: Policy = policy, **context: Any) -> LearnedSchedule:
            return LearnedSchedule(policy=policy, guard=False, **context)  # the environment has none

        config = TrainerConfig(precision="fp64")
        (result,) = run_schedules([ScheduleJob(task, "x", make)], tiny_data(2000), "agent", config=config)
        assert result.history["log_lam"] == pytest.approx(trace, abs=1e-9)
