"""The compiled training step: the same numbers in any company, few sizes, a plain step where there is no compiler."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from tiny_envs import tiny_data

from lambda_rl.envs.hardware.device import _cpu_has_bf16
from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training import step as module
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import Trainer

TASK = Task(width=4, train_size=200, val_size=40, batch_size=16, steps=12, decisions=3)
DATA = tiny_data(2000)


@pytest.fixture(autouse=True)
def own_steps() -> None:
    """Steps of this test alone."""
    module.compiled_step.cache_clear()


CNN = dataclasses.replace(TASK, network="cnn3", width=2, train_size=60)
DEEP = dataclasses.replace(TASK, network_options=(("depth", 3), ("norm", "layer"), ("activation", "gelu")))
ADAMW = dataclasses.replace(TASK, optimizer="adamw", decay="decoupled", learning_rate=1e-3)


def trained(task: Task, count: int, **config: object) -> tuple[np.ndarray, torch.Tensor]:
    trainer = Trainer(DATA, "agent", TrainerConfig(precision="fp64", **config), outer_size=50)
    runs = [trainer.start(task.with_seed(seed)) for seed in range(count)]
    rows = []
    for decision in range(task.decisions):
        measured = trainer.advance(runs, np.linspace(-4, -1, count) + 0.3 * decision)
        rows.append([measured.train_loss, measured.train_accuracy, measured.val_loss, measured.outer_loss])
    trainer.close()
    return np.array(rows), torch.stack([run.params["fc1.weight"] for run in runs])


@pytest.mark.parametrize(
    ("task", "count"), [(TASK, 11), (ADAMW, 11), (CNN, 3), (DEEP, 8)], ids=["sgd", "adamw", "cnn3", "deep"]
)
def test_compiled_and_plain_give_the_same(task: Task, count: int) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        compiled, weights = trained(task, count, compile=True, threads=2)  # some stacks are not full
    if any("not compiled" in str(w.message) for w in said):
        pytest.skip(f"no compiler here: {said[-1].message}")
    assert module.compiled_step.cache_info().currsize == 1
    plain, expected = trained(task, count)
    assert compiled == pytest.approx(plain, rel=1e-9)
    assert torch.allclose(weights, expected, rtol=1e-9, atol=1e-12)


def test_without_a_compiler_there_is_one_warning_and_the_plain_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: object, **_: object) -> object:
        def call(*_: object) -> None:
            raise RuntimeError("No working C++ compiler found")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.warns(RuntimeWarning, match=r"not compiled: No working C\+\+ compiler") as said:
        numbers, weights = trained(TASK, 8, compile=True)
    assert len(said) == 1
    plain, expected = trained(TASK, 8)
    assert np.array_equal(numbers, plain)
    assert torch.equal(weights, expected)


def test_few_sizes_are_compiled_and_what_is_left_fills_one_of_them() -> None:
    def stacks(network: str, count: int, **config: int) -> list[tuple[int, int]]:
        trainer = Trainer(DATA, "agent", TrainerConfig(compile=True, **config), outer_size=50)
        made = make_network(NetworkSpec(network, 4, 16))
        return [
            (size, trainer.placement.places(made, size))
            for size in trainer.placement.chunk_sizes(made, count)
        ]

    assert stacks("mlp", 77, threads=2) == [(16, 16)] * 4 + [(13, 16)]
    assert stacks("mlp", 31, threads=2) == [(8, 8)] * 3 + [(7, 8)]
    assert stacks("mlp", 31) == [(16, 16), (15, 16)]
    assert stacks("mlp", 17) == [(16, 16), (1, 8)]
    assert stacks("mlp", 10, chunk=4) == [(4, 4), (4, 4), (2, 4)]
    assert stacks("cnn3", 9, threads=2) == [(4, 4), (4, 4), (1, 2)]
    assert stacks("cnn3", 5, threads=2) == [(2, 2), (2, 2), (1, 2)]
    assert stacks("resnet9", 3) == [(1, 1)] * 3  # large convolutions gain nothing by it on a CPU


@pytest.mark.parametrize(("task", "counts"), [(TASK, (1, 3, 17)), (CNN, (1, 5))], ids=["mlp", "cnn3"])
def test_a_compiled_run_is_the_same_in_any_company(task: Task, counts: tuple[int, ...]) -> None:
    """Alone, with a few, with so many that stacks of both sizes are full: each time to the last bit."""

    def trained_beside(others: int) -> list[torch.Tensor]:
        config = TrainerConfig(precision="bf16" if _cpu_has_bf16() else "fp32", compile=True)
        trainer = Trainer(DATA, "agent", config, outer_size=50)
        run = trainer.start(task)
        beside = [
            trainer.start(dataclasses.replace(task, seed=seed, val_size=10 + 5 * seed))
            for seed in range(1, others + 1)
        ]
        rows = [trainer.advance([run, *beside], [-2.0] * (others + 1)) for _ in range(task.decisions)]
        measured = [torch.tensor([values[0] for values in vars(row).values()]) for row in rows]
        return [*measured, *run.params.values()]

    alone, *more = [trained_beside(count - 1) for count in counts]
    for found in more:
        assert all(map(torch.equal, found, alone))
