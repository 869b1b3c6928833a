"""When a learned schedule decides, and on what: calls, progress, signals between decisions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_schedules import FACTS, alone, good, make_policy
from torch import nn

import lambda_rl
from lambda_rl import LearnedSchedule


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


class Elsewhere(torch.Tensor):
    """A tensor that says that it is on a GPU."""

    device = torch.device("cuda:0")


SIGNALS = ("train_loss", "val_loss", "train_accuracy", "val_accuracy")


def test_tensors_elsewhere_are_read_at_decisions_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes a loop wait for its device are float(), item() and tolist(): none between decisions."""
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(lambda_rl.split_parameters(model, 1e-3), lr=0.1)
    schedule = LearnedSchedule(optimizer, policy=make_policy(), total_steps=1000, facts=FACTS)
    reads = []
    for name in ("__float__", "__int__", "__bool__", "__index__", "item", "tolist", "numpy", "cpu"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, f=original: reads.append(1) or f(self))
    signals = {name: torch.tensor(0.5).as_subclass(Elsewhere) for name in SIGNALS}
    for step in range(1, 101):
        before = len(reads)
        schedule.step(step=step, **signals)
        assert (len(reads) > before) == (step in (50, 100))
    assert [row["train_loss"] for row in schedule.history[1:]] == [0.5, 0.5]


def test_tensors_elsewhere_numbers_and_tensors_here_mean_the_same() -> None:
    """To the bit: means over calls are made in double wherever the tensors are."""
    losses = torch.linspace(2.3, 0.7, 100)
    made = []
    for given in (lambda loss: loss.as_subclass(Elsewhere), lambda loss: loss, float):
        schedule = alone(decisions=4, total_steps=100)
        for step, loss in enumerate(losses, 1):
            schedule.step(step=step, **{**dict.fromkeys(SIGNALS, 0.5), "train_loss": given(loss)})
        made.append(schedule.history)
    assert len(made[0]) == 5
    assert made[0] == made[1] == made[2]


@pytest.mark.gpu
def test_no_call_between_decisions_waits_for_a_gpu() -> None:
    """By CUDA's own account, in a loop that calls after each step."""
    if not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    model = nn.Linear(4, 2).cuda()
    optimizer = torch.optim.SGD(lambda_rl.split_parameters(model, 1e-3), lr=0.1)
    schedule = LearnedSchedule(optimizer, policy=make_policy(), total_steps=1000, facts=FACTS)
    loss = torch.tensor(0.5, device="cuda")
    for step in range(1, 101):
        torch.cuda.set_sync_debug_mode("default" if step in (50, 100) else "error")
        try:
            schedule.step(step=step, **dict.fromkeys(SIGNALS, loss))
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert len(schedule.history) == 3


def test_loss_that_comes_less_often_is_waited_for() -> None:
    schedule = alone(decisions=10)
    with pytest.warns(RuntimeWarning, match="val_loss not given; λ is held until there are both"):
        schedule.step(progress=0.1, train_loss=2.0, train_accuracy=0.3)
    for i in range(1, 10):
        val = {"val_loss": 2.0, "val_accuracy": 0.3} if i % 5 == 4 else {}
        schedule.step(progress=(i + 1) / 10, train_loss=2.0 - 0.1 * i, train_accuracy=0.3, **val)
    assert [row["progress"] for row in schedule.history] == [0.0, 0.5, 1.0]
    assert schedule.history[1]["train_loss"] == pytest.approx(1.8)
