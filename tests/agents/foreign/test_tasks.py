"""The tasks of the foreign suite: enough of them, and each runs."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.optim import SGD, Adam, AdamW

from lambda_rl import Constant
from lambda_rl.agents.foreign import TASKS, selected
from lambda_rl.agents.foreign.families.common import noisy
from lambda_rl.agents.foreign.families.grokking import sums
from lambda_rl.agents.foreign.families.signals import signals
from lambda_rl.agents.foreign.loop import train


def test_the_suite_is_broad_and_cheap_tasks_come_first() -> None:
    assert len(TASKS) >= 40
    assert len({task.name for task in TASKS}) == len({task.digest for task in TASKS}) == len(TASKS)
    assert [task.seconds for task in TASKS] == sorted(task.seconds for task in TASKS)
    assert {
        "digits-clean",
        "digits-noisy",
        "table-5-classes",
        "digits-noisy-adamw",
        "digits-noisy-small-init",
    } < {task.name for task in TASKS}
    assert {task.optimizer for task in TASKS} == {SGD, Adam, AdamW}
    assert len(selected(["digits", "wine"])) == 1 + sum(task.family == "digits" for task in TASKS)
    with pytest.raises(ValueError, match="unknown foreign task 'digit'"):
        selected(["digit"])


@pytest.mark.parametrize(
    "name", [t.name for t in TASKS if t.family not in ("digits", "tables") and not t.needs_images]
)
def test_every_kind_of_network_runs(name: str) -> None:
    task = dataclasses.replace(selected([name])[0], epochs=1, calls=2)
    data = task.data(0)
    outcome = train(task, data, 0, lambda optimizer, figures: Constant(0.0, optimizer), feedback=False)
    assert 0.0 <= outcome.test_accuracy <= 1.0
    assert len(data.val[0]) >= 40
    assert data.num_classes == int(max(part[1].max() for part in (data.train, data.val, data.test))) + 1


def test_labels_are_wrong_as_often_as_said() -> None:
    labels = torch.arange(5).repeat(4000)
    found = noisy(labels, 0.3, 5, torch.Generator().manual_seed(0))
    assert (found != labels).float().mean() == pytest.approx(0.3, abs=0.01)
    assert set(found.tolist()) == set(range(5))


def test_data_is_what_it_says() -> None:
    data = sums(0)
    for x, y in (data.train, data.val, data.test):
        assert torch.equal(x.sum(1) % 31, y)
    assert sum(len(part[0]) for part in (data.train, data.val, data.test)) == 31**2
    first, second = signals(0), signals(1, noise=0.15)
    assert first.train[0].shape == (2500, 40)
    assert not torch.equal(first.train[0], second.train[0])
