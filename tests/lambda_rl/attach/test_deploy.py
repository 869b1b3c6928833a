"""A learned schedule in loops of all kinds: the environment's λ, any rhythm, bad signals, resume, processes."""

from __future__ import annotations

import dataclasses
import math
import random
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from deploy_loops import Loop, half_a_run, worker
from places import HELPERS, blocks
from tiny_envs import tiny_data
from tiny_schedules import CARD, FACTS, alone, good, make_policy
from torch import nn

import lambda_rl
from lambda_rl import LearnedSchedule, Policy, RunFacts, save_policy
from lambda_rl.envs.env import CifarLambdaEnv
from lambda_rl.envs.judging import ScheduleJob, run_schedules
from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.observation import FEATURES
from lambda_rl.schedules.safety import AT_BOUND, FAR

CARD15 = dataclasses.replace(CARD, decisions=15)
MLP = Task(network="mlp", width=16, train_size=700, val_size=80, steps=300, decisions=15, initial_lam=0.02)
CNN = Task(
    network="cnn3", width=4, train_size=500, val_size=60, steps=210, decisions=20, batch_size=32,
    learning_rate=0.02, label_noise=0.2,
)  # fmt: skip


# ---- the environment's trace in a plain loop


def environment(task: Task, policy: Policy, precision: str) -> tuple[list[float], dict[str, Any]]:
    """λ at each decision in the environment, and all that a plain loop needs to train the same network."""
    data = tiny_data(2000)
    env = CifarLambdaEnv(
        Suite("one", "agent", TaskList((task,))), data, policy.card.control, precision=precision
    )
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
    optimizer = torch.optim.SGD(groups, lr=task.learning_rate, momentum=task.momentum)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: given["rates"][i] / given["rates"][0])
    schedule = LearnedSchedule(
        optimizer, policy=policy, total_steps=task.steps, num_train=task.train_size, val_size=task.val_size,
        num_classes=10, batch_size=task.batch_size, lr_sum=given["facts"].lr_sum, initial_lam=task.initial_lam,
        **options,
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


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
@pytest.mark.parametrize("task", [MLP, CNN], ids=["mlp", "cnn3"])
def test_so_does_the_shipped_policy(task: Task, precision: str) -> None:
    policy = lambda_rl.load_policy()
    trace, given = environment(task, policy, precision)
    mine = plain_loop(task, policy, given, "every interval", decisions=task.decisions)
    assert np.ptp(trace) > 0.3
    assert mine == pytest.approx(trace, abs=1e-6 if precision == "fp64" else 5e-6)


def test_the_runner_of_comparisons_gives_it_too() -> None:
    policy = make_policy(3, bias=-0.3, card=CARD15)  # else λ is at the upper end too long, see below
    for task in (MLP, dataclasses.replace(MLP, steps=47, decisions=40), CNN):
        trace, _ = environment(task, policy, "fp64")

        def make(**context: Any) -> LearnedSchedule:
            return LearnedSchedule(policy=policy, **context)

        config = TrainerConfig(precision="fp64")
        (result,) = run_schedules([ScheduleJob(task, "x", make)], tiny_data(2000), "agent", config=config)
        assert result.history["log_lam"] == pytest.approx(trace, abs=1e-9)


# ---- rhythm


def decisions_at(calls: list[float], **options: Any) -> list[float]:
    schedule = alone(**{"decisions": 15, **options})
    for progress in calls:
        schedule.step(**good(0, progress=progress))
    return [float(row["progress"]) for row in schedule.history[1:]]


def test_fewer_calls_than_decisions_act_each_time() -> None:
    epochs = [(i + 1) / 10 for i in range(10)]
    assert decisions_at(epochs) == epochs


def test_more_calls_act_when_the_run_has_moved_on() -> None:
    every = [(i + 1) / 3000 for i in range(3000)]
    for options in ({}, {"total_steps": 3000}):
        acted = decisions_at(every, **options)
        assert acted == pytest.approx([(i + 1) / 15 for i in range(15)], abs=1e-3)
    # Calls of 0.6/K: every second one; of 0.7/K: each, since two would overshoot by more than one falls short.
    assert len(decisions_at([0.04 * (i + 1) for i in range(24)])) == 12
    assert len(decisions_at([(i + 1) / 21 for i in range(21)])) == 21
    # 300 steps and a call at each: 20 steps, not 19 for being within one of it
    acted = decisions_at([(i + 1) / 300 for i in range(300)], total_steps=300)
    assert acted == pytest.approx([(i + 1) / 15 for i in range(15)])


def test_repeated_and_backward_progress_decide_nothing() -> None:
    assert decisions_at([0.1, 0.1, 0.1, 0.05, 0.02, 0.1, 0.2, 0.2]) == [0.1, 0.2]


def test_signals_between_decisions_are_averaged_by_progress_and_validation_is_the_last() -> None:
    uneven, once = alone(decisions=5), alone(decisions=5)
    for progress, loss, val in ((0.02, 3.0, 9.0), (0.1, 2.0, 8.0), (0.2, 1.0, 2.0)):
        uneven.step(**good(0, progress=progress, train_loss=torch.tensor(loss), val_loss=val))
    mean = (0.02 * 3.0 + 0.08 * 2.0 + 0.1 * 1.0) / 0.2
    once.step(**good(0, progress=0.2, train_loss=mean, val_loss=2.0))
    assert uneven.value == pytest.approx(once.value, rel=1e-9)
    assert len(uneven.history) == 2
    assert uneven.history[1]["train_loss"] == pytest.approx(mean)


def test_a_tensor_may_be_reused_by_the_loop() -> None:
    schedule, total = alone(decisions=5), torch.zeros(())
    for i in range(4):
        total.fill_(float(i + 1))
        schedule.step(**good(0, progress=0.05 * (i + 1), train_loss=total))
        total.zero_()
    assert schedule.history[1]["train_loss"] == pytest.approx(2.5)


def test_tensors_are_read_at_decisions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes a loop wait for its device are float(), item() and tolist(): none between decisions."""
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(lambda_rl.split_parameters(model, 1e-3), lr=0.1)
    schedule = LearnedSchedule(optimizer, policy=make_policy(), total_steps=1000, facts=FACTS)
    reads = []
    for name in ("__float__", "item", "tolist", "__bool__"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, f=original: reads.append(1) or f(self))
    signals = {
        name: torch.tensor(0.5) for name in ("train_loss", "val_loss", "train_accuracy", "val_accuracy")
    }
    for step in range(1, 101):
        before = len(reads)
        schedule.step(step=step, **signals)
        assert (len(reads) > before) == (step in (50, 100))


# ---- missing signals, other losses


def test_loss_scale_makes_a_regression_scale_free() -> None:
    def trace(scale: float, **options: Any) -> list[float]:
        schedule = alone(**options)
        for i in range(9):
            signals = {"train_loss": scale * 0.8**i, "val_loss": scale * 0.85**i, "penalty": 0.1 * scale}
            schedule.step(progress=(i + 1) / 10, weight_norm=3.0 + 0.1 * i, **signals)
        return [row["lam"] for row in schedule.history]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        big, small = (trace(s, loss_scale=s, penalty_sum=4.5 * s) for s in (50.0, 1e-3))
        assert big == pytest.approx(small, rel=1e-9)
        assert trace(50.0, loss_scale="start") == pytest.approx(trace(1e-3, loss_scale="start"), rel=1e-9)
        assert trace(math.log(10), loss_scale=math.log(10)) == pytest.approx(trace(math.log(10)), rel=1e-12)
        assert trace(50.0) != pytest.approx(trace(1e-3), rel=1e-3)


def test_regression_in_three_lines_of_arguments() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(64, 6), torch.randn(64, 1) * 7
    model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(lambda_rl.split_parameters(model, 1e-3), lr=0.01)
    policy = make_policy(card=CARD15)
    with pytest.warns(
        RuntimeWarning, match="not given: num_train, val_size, batch_size; taken to be as on av"
    ):
        schedule = LearnedSchedule(optimizer, policy=policy, total_steps=60)
    assert schedule.facts.num_train == round(10**3.5)  # the normaliser's mean of this policy is 0
    assert schedule.facts.epochs == pytest.approx(10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(60):
            loss = F.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step(train_loss=loss, val_loss=1.1 * loss.detach())
    assert len(schedule.history) == 16
    assert len({row["lam"] for row in schedule.history}) > 10


def test_loss_that_comes_less_often_is_waited_for() -> None:
    schedule = alone(decisions=10)
    with pytest.warns(RuntimeWarning, match="val_loss not given; λ is held until there are both"):
        schedule.step(progress=0.1, train_loss=2.0, train_accuracy=0.3)
    for i in range(1, 10):
        val = {"val_loss": 2.0, "val_accuracy": 0.3} if i % 5 == 4 else {}
        schedule.step(progress=(i + 1) / 10, train_loss=2.0 - 0.1 * i, train_accuracy=0.3, **val)
    assert [row["progress"] for row in schedule.history] == [0.0, 0.5, 1.0]
    assert schedule.history[1]["train_loss"] == pytest.approx(1.8)


def test_options_that_cannot_be() -> None:
    for options, message in (
        ({"decisions": 0}, "decisions must be"),
        ({"decisions": 2.5}, "decisions must be"),
        ({"loss_scale": 0.0}, "loss_scale must be"),
        ({"loss_scale": math.nan}, "loss_scale must be"),
        ({"loss_scale": "mse"}, "loss_scale must be"),
        ({"distributed": "no"}, "distributed must be"),
        ({"lam_meaning": "convert"}, "needs an optimizer"),
    ):
        with pytest.raises(ValueError, match=message):
            alone(**options)
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2, 2))], lr=0.1, weight_decay=1e-4)
    with pytest.raises(ValueError, match="needs num_classes"):
        LearnedSchedule(optimizer, policy=make_policy(), total_steps=9, loss_scale="cross-entropy")


# ---- safety


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_accuracy": 45.0}, "train_accuracy=45 is not a fraction"),
        ({"val_accuracy": -0.1}, "not a fraction"),
        ({"train_loss": -0.5}, "train_loss=-0.5 is negative"),
        ({"lr_ratio": math.nan}, r"not finite \(lr_ratio\)"),
    ],
)
def test_impossible_signals_hold(change: dict[str, float], message: str) -> None:
    schedule, clean = alone(), alone()
    schedule.step(**good(0))
    clean.step(**good(0))
    held = schedule.value
    with pytest.warns(RuntimeWarning, match=message) as caught:
        assert schedule.step(**good(1, **change)) == held
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert schedule.step(**good(2, **change)) == held  # warned once
    assert len(caught) == 1
    assert caught[0].filename == __file__  # points at the loop
    assert schedule.step(**good(3)) == clean.step(**good(3))


def test_far_outside_training_holds() -> None:
    policy = make_policy()
    narrow = Policy(
        obs_mean=policy.obs_mean, obs_var=np.full(len(FEATURES), 1e-4), clip_obs=10.0, epsilon=1e-8,
        layers=policy.layers, card=CARD,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schedule = alone(policy=narrow)
    held = schedule.value
    with pytest.warns(RuntimeWarning, match=r"far outside what the policy was trained on \(.*train_loss"):
        assert schedule.step(**good(0)) == held
    # The same for a policy that does not look at any of it: nothing to fear.
    blind = Policy(
        obs_mean=policy.obs_mean, obs_var=narrow.obs_var, clip_obs=10.0, epsilon=1e-8,
        layers=[(np.zeros((1, len(FEATURES))), np.full(1, 0.1))], card=CARD,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule = alone(policy=blind)
        assert schedule.step(**good(0)) == pytest.approx(schedule.history[0]["lam"] * 10**0.05)
    assert FAR > 5  # with unit variance no entry is ever far: features lie within ±5


def test_lam_at_the_upper_end_falls_back_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = alone(decisions=40, initial_lam=0.5)
    start = math.log10(schedule.value)
    moves = iter([*[1.0] * (AT_BOUND + 6), -0.5, 1.0])
    monkeypatch.setattr(schedule.policy, "act", lambda obs: np.array([next(moves)]))
    with pytest.warns(RuntimeWarning, match="upper end of its range for 5 decisions") as caught:
        seen = [math.log10(schedule.step(**good(0, progress=(i + 1) / 40))) for i in range(AT_BOUND + 8)]
    assert len(caught) == 1
    assert 0.5 < start + 1.5 < 1.0  # two moves stay inside, the third does not
    inside = start + 1.0
    assert seen[:2] == pytest.approx([start + 0.5, inside])
    assert seen[2 : 2 + AT_BOUND] == pytest.approx([0.5] * AT_BOUND)
    assert seen[2 + AT_BOUND : -2] == pytest.approx([inside] * 4)
    assert seen[-2:] == pytest.approx([inside - 0.25, min(inside + 0.25, 0.5)])


def test_lam_at_the_lower_end_stays_as_in_the_environment() -> None:
    schedule = alone(policy=make_policy(bias=-5.0), decisions=40)
    with pytest.warns(RuntimeWarning, match="lower end") as caught:
        seen = [math.log10(schedule.step(**good(0, progress=(i + 1) / 40))) for i in range(30)]
    assert len(caught) == 1
    assert seen[-20:] == pytest.approx([-5.0] * 20)


SCALARS = (
    0.0, 1.0, 0.3, 2.0, -1.0, 1e-300, 1e308, -1e308, 45.0, math.nan, math.inf, -math.inf, 1e-12, None, True, 10**400,
    "much", "nan", [1.0], complex(1, 1),
)  # fmt: skip
TENSORS = tuple(
    torch.tensor(value)
    for value in (0.5, math.nan, math.inf, -3.0, 1e30, [0.4], [1.0, 2.0], [], 7, True, 1 + 1j)
)


def test_ten_thousand_sequences_of_signals() -> None:
    """λ stays finite and in range, and nothing is raised but ValueError."""
    rng = random.Random(0)
    policies = [
        make_policy(seed, hidden=4, bias=b, card=CARD15) for seed, b in enumerate((0.0, 0.3, -5.0, 5.0))
    ]
    model = nn.Linear(3, 2)
    low, high = 10**CARD.log_lam_min * (1 - 1e-9), 10**CARD.log_lam_max * (1 + 1e-9)
    names = (
        "train_loss",
        "val_loss",
        "train_accuracy",
        "val_accuracy",
        "weight_norm",
        "penalty",
        "lr_ratio",
        "x",
    )
    refused = decided = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(10_000):
            attached = number % 4 == 0
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=1e-3) if attached else None
            schedule = LearnedSchedule(
                optimizer, policy=policies[number % 3 + rng.randrange(2)], facts=FACTS, weight_norm=3.0,
                total_steps=rng.choice((None, 20)), loss_scale=rng.choice((None, "start", 2.0)),
            )  # fmt: skip
            sane = rng.random()
            for call in range(10):
                signals = {}
                for name in names:
                    if rng.random() < sane:
                        signals[name] = rng.random() * (1 if "accuracy" in name else 3)
                    elif rng.random() < 0.8:
                        signals[name] = rng.choice(TENSORS if rng.random() < 0.3 else SCALARS)
                if rng.random() < 0.8:
                    signals["progress"] = (call + 1) / 10
                elif rng.random() < 0.7:
                    signals["progress"] = rng.choice(SCALARS)
                else:
                    signals["step"] = rng.choice((0, 5, 19, 10**400, -1, "3", None, 2.5))
                try:
                    lam = schedule.step(**signals)
                except ValueError:
                    refused += 1
                    lam = schedule.value
                assert math.isfinite(lam)
                assert low <= lam <= high
                if attached:
                    assert optimizer.param_groups[0]["weight_decay"] == lam
            decided += len({row["lam"] for row in schedule.history}) - 1
    assert refused > 10_000  # the rules were met,
    assert decided > 10_000  # and so was the policy


# ---- resume in a new process


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_train_200_equals_train_100_save_new_process_load_train_100(kind: str, tmp_path: Path) -> None:
    save_policy(tmp_path / "p.safetensors", make_policy(3, card=CARD15))
    arguments = (kind, str(tmp_path / "p.safetensors"), str(tmp_path))
    half_a_run("whole", *arguments)
    half_a_run("first", *arguments)
    script = HELPERS / "deploy_loops.py"
    subprocess.run([sys.executable, str(script), "second", *arguments], check=True, timeout=120)
    whole, second = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("whole", "second"))
    assert len({row["lam"] for row in whole["lam"]["history"]}) > 10
    assert second["lam"] == whole["lam"]
    assert second["optimizer"]["param_groups"] == whole["optimizer"]["param_groups"]
    for name, value in whole["model"].items():
        assert torch.equal(second["model"][name], value), name


def test_resume_between_decisions_keeps_the_mean() -> None:
    """The checkpoint at step 105 lies in the middle of an interval whose signals came as tensors."""
    loop = Loop("sgd", make_policy(card=CARD15))  # type: ignore[arg-type]
    loop.train(range(105))
    state = loop.schedule.state_dict()
    assert {"train_loss", "train_accuracy"} <= set(state["pending"])
    assert all(isinstance(v, float) for pair in state["pending"].values() for v in pair)


# ---- several processes


@pytest.mark.parametrize("name", ["free", "frozen"])
def test_two_processes_agree(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    save_policy(folder / "p.safetensors", make_policy(3, card=dataclasses.replace(CARD, decisions=20)))
    torch.multiprocessing.spawn(worker, (str(folder / "p.safetensors"), str(folder)), nprocs=2)
    one, two = (torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert [r["lam"] for r in one["history"]] == [r["lam"] for r in two["history"]]
    assert len({row["lam"] for row in one["history"]}) > 10
    assert one["heard"] != two["heard"]  # though they were told different things
    mean = (one["heard"][0] + two["heard"][0]) / 2
    assert one["history"][1]["train_loss"] == two["history"][1]["train_loss"] == pytest.approx(mean)
    assert one["decay"] == two["decay"] == one["lam"]
    assert set(one["other"]) == set(two["other"]) == {0.0}
    torch.manual_seed(0)
    start = nn.Linear(8, 16).weight
    assert torch.equal(one["frozen"], start) == (name == "frozen")


# ---- optimizers and precisions


def attach(model: nn.Module, optimizer: Any, meaning: str = "coupled", **options: Any) -> LearnedSchedule:
    policy = make_policy(bias=0.2, card=dataclasses.replace(CARD15, lam_meaning=meaning))
    facts = dataclasses.replace(FACTS, num_classes=2)
    return LearnedSchedule(optimizer, policy=policy, facts=facts, total_steps=30, **options)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("flavour", ["foreach", "fused", "capturable"])
def test_flavours_of_optimizers_decay_by_lam(kind: Any, flavour: str) -> None:
    if flavour == "capturable" and (kind is torch.optim.SGD or not torch.cuda.is_available()):
        pytest.skip("capturable is for Adam on an accelerator")
    device = "cuda" if flavour == "capturable" else "cpu"

    def train(**flags: Any) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Linear(4, 2).to(device)
        optimizer = kind(lambda_rl.split_parameters(model, 1e-3), lr=0.05, **flags)
        schedule = attach(model, optimizer, "decoupled" if kind is torch.optim.AdamW else "coupled")
        for step in range(30):
            loss = F.cross_entropy(
                model(torch.ones(2, 4, device=device)), torch.tensor([0, 1], device=device)
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 2:
                schedule.step(train_loss=loss, val_loss=loss)
        assert optimizer.param_groups[0]["weight_decay"] == schedule.value
        return [p.detach().clone() for p in model.parameters()]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for mine, plain in zip(train(**{flavour: True}), train(foreach=False), strict=True):
            torch.testing.assert_close(mine, plain, rtol=1e-4, atol=1e-6)


def test_a_decay_that_is_a_tensor_is_filled_in_place() -> None:
    """As for optimizers that are compiled or captured in a graph: a float would be a constant to them."""
    model = nn.Linear(4, 2)
    decay = torch.tensor(1e-3)
    optimizer = torch.optim.AdamW([model.weight], lr=0.05, weight_decay=0.1, foreach=False)
    optimizer.param_groups[0]["weight_decay"] = decay
    schedule = attach(model, optimizer, "decoupled")
    model.weight.grad = torch.zeros_like(model.weight)
    before = model.weight.detach().clone()
    optimizer.step()
    assert optimizer.param_groups[0]["weight_decay"] is decay
    assert float(decay) == pytest.approx(schedule.value, rel=1e-6)
    torch.testing.assert_close(model.weight.detach(), before * (1 - 0.05 * schedule.value))
    schedule.step(progress=0.5, train_loss=0.5, val_loss=0.6, train_accuracy=0.5, val_accuracy=0.5)
    assert optimizer.param_groups[0]["weight_decay"] is decay
    assert float(decay) == pytest.approx(schedule.value, rel=1e-6)


def test_grad_scaler_accumulation_and_autocast_count_optimizer_steps() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(lambda_rl.split_parameters(model, 1e-3), lr=0.05)
    schedule = attach(model, optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for step in range(12):
        for _ in range(3):  # minibatches of one optimizer step
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(model(torch.randn(8, 4)), torch.randint(2, (8,)))
            scaler.scale(loss / 3).backward()
        if step in (3, 7):
            model.weight.grad.fill_(math.inf)  # the scaler skips this step
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    lam = schedule.value
    schedule.step(train_loss=loss.bfloat16(), val_loss=loss, train_accuracy=0.5, val_accuracy=0.5)
    assert schedule.history[-1]["progress"] == pytest.approx(10 / 30)
    assert schedule.value != lam


def test_several_optimizers_share_one_lam() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    groups = [lambda_rl.split_parameters(part, d) for part, d in zip(model, (2e-3, 1e-3), strict=True)]
    optimizers = [torch.optim.SGD(group, lr=0.1) for group in groups]
    schedule = attach(model, optimizers)
    schedule.step(progress=0.2, train_loss=0.5, val_loss=0.6, train_accuracy=0.5, val_accuracy=0.5)
    decays = [[group["weight_decay"] for group in optimizer.param_groups] for optimizer in optimizers]
    assert decays == [[schedule.value, 0.0], [pytest.approx(0.5 * schedule.value), 0.0]]


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled_model(backend: str) -> None:
    """A compiled model trains under a schedule as one that is not, and its steps are counted."""
    if backend == "inductor" and not torch._dynamo.is_dynamo_supported():
        pytest.skip("no compiler")

    def trace(compiled: bool) -> list[float]:
        torch.manual_seed(0)
        model: Any = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        optimizer = torch.optim.SGD(lambda_rl.split_parameters(model, 1e-3), lr=0.05)
        schedule = attach(model, optimizer)
        if compiled:
            model = torch.compile(model, backend=backend)
        x, y = torch.randn(16, 4), torch.randint(2, (16,))
        for _ in range(10):
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step(train_loss=loss, val_loss=loss, train_accuracy=0.5, val_accuracy=0.5)
        assert schedule.history[-1]["progress"] == pytest.approx(1 / 3)
        return [row["lam"] for row in schedule.history]

    assert trace(True) == pytest.approx(trace(False), rel=1e-5)


def test_converted_lam_shrinks_as_much() -> None:
    """λ · lr_sum, the shrinking over the whole run, is that of the policy's training, on either side."""
    mean = np.zeros(len(FEATURES))
    mean[FEATURES.names().index("log_shrink")] = (
        0.5  # with log λ in the middle, -2.25: summed rate of 10^3.25
    )
    base = make_policy(bias=0.1)
    policy = Policy(
        obs_mean=mean, obs_var=np.ones(len(FEATURES)), clip_obs=10.0, epsilon=1e-8, layers=base.layers, card=CARD15
    )  # fmt: skip
    model = nn.Linear(4, 2)
    options: dict[str, Any] = {"policy": policy, "total_steps": 100, "num_train": 50, "val_size": 10, "num_classes": 2,
                               "batch_size": 5, "weight_norm": 3.0}  # fmt: skip
    adamw = torch.optim.AdamW(lambda_rl.split_parameters(model, 1e-2), lr=1e-2)
    with pytest.raises(ValueError, match="lam_meaning='convert'"):
        LearnedSchedule(adamw, **options)
    converted = LearnedSchedule(adamw, **options, lam_meaning="convert")
    assert converted.factor == pytest.approx(10**3.25)
    sgd = torch.optim.SGD(lambda_rl.split_parameters(model, 1e-2), lr=0.1)
    plain = LearnedSchedule(sgd, **options, lr_sum=10**3.25, lam_meaning="convert")  # nothing to convert
    assert plain.factor == 1.0
    signals = {
        "train_loss": 0.5,
        "val_loss": 0.6,
        "train_accuracy": 0.7,
        "val_accuracy": 0.6,
        "weight_norm": 3.1,
    }
    for progress in (0.2, 0.4, 0.6):
        lams = [s.step(progress=progress, **signals) for s in (converted, plain)]
        assert lams[0] == pytest.approx(lams[1] * 10**3.25, rel=1e-6)
        assert adamw.param_groups[0]["weight_decay"] == lams[0]
    again = LearnedSchedule(adamw, **options, lam_meaning="convert")
    again.load_state_dict(converted.state_dict())
    assert again.step(progress=0.8, **signals) == converted.step(progress=0.8, **signals)
    scaled = LearnedSchedule(adamw, **options, lam_meaning="convert", initial_lam=10.0)
    unscaled = LearnedSchedule(sgd, **options, lr_sum=10**3.25, initial_lam=10.0 / 10**3.25)
    assert scaled.value == pytest.approx(unscaled.value * 10**3.25, rel=1e-6)


# ---- nothing but torch, numpy and safetensors

BLOCKED = """
import sys
EXTRA = {"gymnasium", "stable_baselines3", "wandb", "torchvision", "matplotlib", "pandas", "yaml", "tyro", "rich",
         "platformdirs", "PIL", "lightning", "pytorch_lightning", "transformers", "accelerate", "timm", "hypothesis"}
NEVER = {"gymnasium", "stable_baselines3", "wandb"}
asked = set()
class Finder:  # finds what an environment without the extras has, and nothing else
    finders = list(sys.meta_path)
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        asked.add(root)
        if root in EXTRA or name.startswith(("lambda_rl.envs", "lambda_rl.agents")):
            return None
        found = (f.find_spec(name, path, target) for f in self.finders if hasattr(f, "find_spec"))
        return next((spec for spec in found if spec is not None), None)
sys.meta_path[:] = [Finder()]
"""


def test_the_command_needs_the_base_install_only(tmp_path: Path) -> None:
    path = str(tmp_path / "policy.safetensors")
    save_policy(path, make_policy())
    code = f"from lambda_rl.cli import main; sys.exit(main(['info', {path!r}]))"
    done = subprocess.run([sys.executable, "-c", BLOCKED + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fingerprint" in done.stdout


def test_the_readmes_loop_needs_torch_numpy_and_safetensors_only(tmp_path: Path) -> None:
    (loop,) = (block for block in blocks("python") if "LearnedSchedule(" in block)
    policy = make_policy(card=CARD15)
    save_policy(tmp_path / "runs" / "demo" / "policy.safetensors", policy)
    (tmp_path / "loop.py").write_text(
        f"{BLOCKED}\n{loop}\n"
        "assert len({row['lam'] for row in schedule.history}) > 10\n"
        "assert not NEVER & asked, NEVER & asked\n"
        "assert not (NEVER | EXTRA) & {name.partition('.')[0] for name in sys.modules}\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "loop.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr


def test_facts_of_another_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="run facts: num_train"):
        RunFacts(num_train=0, num_params=1, val_size=1, num_classes=2, epochs=1.0, lr_sum=1.0)
