"""What an inner run is made of: its images, their order and labels, its weights, its learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_envs import BASE, tiny_data

from lambda_rl.envs.data.split import FOLDS, Fold, split_data
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training import begin
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import InnerRun
from lambda_rl.envs.training.trainer import Trainer

DATA = tiny_data()


def test_label_noise() -> None:
    trainer = Trainer(DATA, "agent")
    task = replace(BASE, train_size=200, label_noise=0.3, batch_size=50, steps=4, decisions=2)
    run, clean = trainer.start(task), trainer.start(replace(task, label_noise=0.0))
    assert torch.equal(run.order, clean.order)  # one epoch: every example once
    truth = DATA.labels[run.order]
    assert torch.equal(clean.labels, truth)
    assert int((run.labels != truth).sum()) == 60
    assert 0 <= int(run.labels.min()) <= int(run.labels.max()) < 10
    wrong = ((run.labels - truth) % 10)[run.labels != truth]
    assert set(wrong.tolist()) == set(range(1, 10))  # any other class

    # An example keeps its wrong label in every epoch.
    long = trainer.start(replace(task, steps=12))
    told: dict[int, set[int]] = {}
    for image, label in zip(long.order.flatten().tolist(), long.labels.flatten().tolist(), strict=True):
        told.setdefault(image, set()).add(label)
    assert len(told) == 200
    assert {len(labels) for labels in told.values()} == {1}


@pytest.mark.parametrize(("size", "batch", "steps"), [(50, 10, 20), (30, 8, 25), (7, 20, 9)])
def test_order_covers_every_epoch_once(size: int, batch: int, steps: int) -> None:
    run = Trainer(DATA, "agent").start(replace(BASE, train_size=size, batch_size=batch, steps=steps))
    stream = run.order.flatten().tolist()
    assert len(stream) == batch * steps
    epochs = [stream[i : i + size] for i in range(0, len(stream), size)]
    for epoch in epochs:
        assert len(set(epoch)) == len(epoch)
        assert set(epoch) <= set(epochs[0])
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("fold", ["agent", "held-out"])
def test_parts_are_disjoint(fold: Fold) -> None:
    trainer = Trainer(DATA, fold, outer_size=8)
    split = split_data(len(DATA.labels), fold)
    for seed in range(3):
        run = trainer.start(replace(BASE, train_size=200, batch_size=50, val_size=25, seed=seed))
        train, val, outer = (
            set(index.flatten().tolist()) for index in (run.order, run.val_index, run.outer_index)
        )
        assert (len(train), len(val), len(outer)) == (200, 25, 8)
        assert train <= set(split.inner_train.tolist())
        assert val <= set(split.inner_val.tolist())
        assert outer <= set(split.outer_val.tolist())
        assert not train & val
        assert not (train | val) & outer


def test_folds_share_no_image() -> None:
    seen = {}
    for fold in FOLDS:
        trainer = Trainer(DATA, fold)
        run = trainer.start(replace(BASE, train_size=200, batch_size=50))
        parts = (run.order, run.val_index, trainer.sources[""]._outer_all)
        seen[fold] = set().union(*(set(part.flatten().tolist()) for part in parts))
    assert not seen["agent"] & seen["held-out"]


def run_tensors(run: InnerRun) -> list[torch.Tensor]:
    return [run.order, run.labels, run.val_index, run.outer_index, *run.params.values()]


def test_a_run_follows_from_seed_and_fold() -> None:
    task = replace(BASE, label_noise=0.2)

    def made(task: Task, fold: Fold) -> list[torch.Tensor]:
        torch.manual_seed(torch.initial_seed() % 1000 + 1)  # the global generator must not matter
        return run_tensors(Trainer(DATA, fold, outer_size=12).start(task))

    first = made(task, "agent")
    assert all(map(torch.equal, first, made(task, "agent")))
    # Common random numbers: nothing that λ or the optimizer could change has a say.
    other = replace(task, learning_rate=0.5, initial_lam=1.0, optimizer="adamw", penalty="l1")
    assert all(map(torch.equal, first, made(other, "agent")))
    assert not any(map(torch.equal, first, made(replace(task, seed=1), "agent")))
    assert not any(map(torch.equal, first, made(task, "held-out")))


def test_runs_that_begin_together_begin_as_each_alone() -> None:
    """Of several kinds and lengths, in any order."""
    kinds = (
        {}, {"label_noise": 0.2}, {"train_size": 90, "val_size": 7}, {"steps": 17}, {"network": "resnet9"},
        {"optimizer": "adamw", "init_scale": 2.0}, {"penalty": "l1"}, {"learning_rate": 0.3},
    )  # fmt: skip
    tasks = [replace(BASE, **kind, seed=seed) for seed in range(3) for kind in kinds]
    trainer = Trainer(DATA, "agent", TrainerConfig(threads=2), outer_size=12)
    for task, run in zip(tasks, trainer.start_all(tasks), strict=True):
        alone = Trainer(DATA, "agent", outer_size=12).start(task)
        assert run.task == task
        assert all(map(torch.equal, run_tensors(run), run_tensors(alone)))
        for part, other in ((run.val, alone.val), (run.outer, alone.outer)):
            assert torch.equal(part.inputs, other.inputs)
            assert torch.equal(part.labels, other.labels)
        assert run.facts == alone.facts
        assert run.start_measures == alone.start_measures
        assert torch.equal(run.learning_rates, alone.learning_rates)
        for mine, its in ((run.augmentation, alone.augmentation), (run.noise, alone.noise)):
            assert torch.equal(mine.get_state(), its.get_state())
        assert all(torch.equal(value, run.buffers[name]) for name, value in alone.buffers.items())
        assert not any(value.any() for state in run.optimizer.values() for value in state.values())
    trainer.close()


def test_subset_larger_than_the_data() -> None:
    trainer = Trainer(DATA, "agent")
    with pytest.raises(ValueError, match=r"train_size=241, but the inner-train part has 240 images"):
        trainer.start(replace(BASE, train_size=241))
    with pytest.raises(ValueError, match=r"val_size=31, but the inner-val part has 30 images"):
        trainer.start(replace(BASE, val_size=31))
    trainer.start(replace(BASE, train_size=240, val_size=30))


@pytest.mark.parametrize(
    ("kind", "factor"),
    [
        ("constant", lambda s: 1.0),
        ("cosine", lambda s: 0.5 * (1 + math.cos(math.pi * s))),
        ("exponential", lambda s: 0.01**s),
    ],
)
def test_lr_ratio_is_that_of_the_next_step(kind: str, factor: Callable[[float], float]) -> None:
    trainer = Trainer(DATA, "agent")
    run = trainer.start(replace(BASE, lr_schedule=kind))
    assert run.lr_ratio == 1.0
    for decision in range(1, BASE.decisions + 1):
        trainer.advance([run], [-2.0])
        assert run.progress == decision / BASE.decisions
        assert run.lr_ratio == pytest.approx(factor(run.progress), abs=1e-12)
    assert run.finished


def test_facts_are_what_a_user_knows() -> None:
    trainer = Trainer(DATA, "agent")
    task = replace(BASE, lr_schedule="constant", learning_rate=0.1, momentum=0.9, steps=10)
    facts = trainer.start(task).facts
    assert (facts.num_train, facts.val_size, facts.num_classes) == (100, 20, 10)
    assert facts.epochs == pytest.approx(0.8)
    assert facts.lr_sum == pytest.approx(10.0)  # coupled SGD: 10 steps x 0.1 / (1 - 0.9)
    assert trainer.start(replace(task, decay="decoupled")).facts.lr_sum == pytest.approx(1.0)
    assert trainer.start(replace(task, optimizer="adamw")).facts.lr_sum == pytest.approx(1.0)


def test_runs_that_begin_in_parts_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a GPU trains large networks, each core begins some of them."""
    trainer = Trainer(DATA, "agent")
    tasks = [replace(BASE, label_noise=0.2, network="cnn3").with_seed(seed) for seed in range(5)]
    found = []
    for parted in (False, True):
        if parted:
            monkeypatch.setattr(
                begin,
                "_parts",
                lambda tasks, *more: [begin._part(tasks[:3], *more), begin._part(tasks[3:], *more)],
            )
        runs = trainer.start_all(tasks)
        found.append([(run.params, run.order, run.labels, run.val_index, run.start_measures) for run in runs])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
