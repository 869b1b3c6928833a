"""The compiled training step: the same numbers, few sizes, and a plain step where there is no compiler."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from tiny_envs import tiny_data

from lambda_rl.envs import step as module
from lambda_rl.envs.step import CompiledStep, StepSpec
from lambda_rl.envs.tasks import Task
from lambda_rl.envs.trainer import Trainer, TrainerConfig

TASK = Task(width=4, train_size=200, val_size=40, batch_size=16, steps=12, decisions=3)
DATA = tiny_data(2000)


@pytest.fixture(autouse=True)
def own_steps() -> None:
    """Steps of this test alone."""
    module.compiled_step.cache_clear()


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
    "task",
    [TASK, dataclasses.replace(TASK, optimizer="adamw", decay="decoupled", learning_rate=1e-3)],
    ids=["sgd", "adamw"],
)
def test_compiled_and_plain_give_the_same(task: Task) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        compiled, weights = trained(task, 11, compile=True, threads=2)  # 8 compiled, 3 not
    if any("not compiled" in str(w.message) for w in said):
        pytest.skip(f"no compiler here: {said[-1].message}")
    plain, expected = trained(task, 11)
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


def test_an_error_of_a_compiled_step_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def compiled(params: object, *_: object) -> None:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("out of memory")

    monkeypatch.setattr(torch, "compile", lambda function, **_: compiled)
    step = CompiledStep(StepSpec(("mlp", 4, 16, 10), "sgd", "l2", "coupled", torch.float32, torch.float32))
    step({"w": torch.zeros(8, 1)})
    with pytest.raises(RuntimeError, match="out of memory"):
        step({"w": torch.zeros(8, 1)})


def test_few_sizes_are_compiled() -> None:
    trainer = Trainer(DATA, "agent", TrainerConfig(compile=True), outer_size=50)
    run = trainer.start(TASK)
    for count, sizes in ((77, [32, 32, 8, 5]), (32, [32]), (31, [16, 8, 7]), (3, [3])):
        assert trainer._chunk_sizes(run, count) == sizes
    convolutional = trainer.start(dataclasses.replace(TASK, network="cnn3"))
    assert trainer._chunk_sizes(convolutional, 3) == [1, 1, 1]  # not compiled on a CPU
    assert Trainer(DATA, "agent", TrainerConfig(compile=True, chunk=4))._chunk_sizes(run, 10) == [4, 4, 2]
