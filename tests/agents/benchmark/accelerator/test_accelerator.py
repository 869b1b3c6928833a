"""Stacks on a device in the benchmark, here on a CPU: that rows do what they say, not how fast they are."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny_envs import tiny_data

from lambda_rl.agents.benchmark.accelerator import rows
from lambda_rl.agents.benchmark.accelerator.measure import Memory, captured_against_not, copies
from lambda_rl.agents.benchmark.accelerator.page import stack_blocks
from lambda_rl.agents.benchmark.accelerator.rows import TARGETS, _judge, accelerator
from lambda_rl.agents.benchmark.config import BenchmarkConfig
from lambda_rl.agents.benchmark.opponents import Setting
from lambda_rl.agents.options import DataOptions
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig

CPU = torch.device("cpu")


def test_all_that_is_asked_for_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The perceptron without its plain process, which takes seconds to start, and with a stack that has no room."""
    monkeypatch.setattr(rows.PlainLoop, "rows", lambda *_: iter(()))
    full: list[int] = []

    def our_rows(task: Task, setting: Setting, options: Any) -> Any:
        ((label, row, config),) = real(task, setting, options)
        if setting.slots == 4 and not full:

            def no_room() -> int:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory: it is full")

            full.append(setting.slots)
            row = dataclasses.replace(row, run=no_room)
        yield label, row, config

    real = rows.our_rows
    monkeypatch.setattr(rows, "our_rows", our_rows)
    config = BenchmarkConfig(
        self_test=True, stacks=True, stack_networks=("mlp",), repeats=1, precision="fp32", compile=False
    )
    kept: list[dict[str, Any]] = []
    found = accelerator(config, Console(quiet=True), kept.append)["mlp"]
    assert kept == [{"mlp": found}]
    assert list(found["rows"]) == ["ours, fp32, N=2", "ours, fp32, N=4, not captured"]
    assert found["failed"] == ["ours, fp32, N=4: CUDA out of memory: it is full"]
    assert [row["networks"] for row in found["rows"].values()] == [2, 4]
    assert found["captured"] == {"fp32": {"same": True, "difference": 0.0}}
    (check,) = found["targets"]
    assert check["found"] == found["rows"]["ours, fp32, N=4, not captured"]["ratio"]

    results = {
        "machine": {"processor": "P", "cores": 2},
        "versions": {"torch": "2"},
        "stacks": {"mlp": found},
    }
    made = stack_blocks({"stacks": {**results, "config": {"repeats": 1}}})
    assert "| ours, fp32, N=2 |" in made["stacks-mlp"]
    assert "of the kernels" not in made["stacks-mlp"]
    assert "| mlp | 0 | 0 | fp32: to the last bit | ours, fp32, N=4 |" in made["stacks-more"]
    assert "≥ 40" in made["stacks-targets"]


def test_a_share_of_the_kernels_is_judged_where_that_is_promised() -> None:
    assert {name: key for name, (key, _) in TARGETS.items()} == {
        "mlp": "ratio", "cnn3": "ratio", "resnet9": "share_of_fastest",
    }  # fmt: skip
    timed = {
        "ours, bf16, N=16": {"networks": 16, "ratio": 1.0, "share_of_fastest": 0.9},
        "ours, bf16, N=64": {"networks": 64, "ratio": 9.0, "share_of_fastest": 0.41},
        "fastest kernels, bf16": {"ratio": 20.0},
    }
    (check,) = _judge("resnet9", 64, timed)
    assert (check["found"], check["met"]) == (0.41, True)
    assert _judge("resnet9", 64, {}) == []


def test_what_differs_between_captured_and_not_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(width=4, batch_size=8, steps=6, decisions=3, train_size=40, val_size=20)
    setting = Setting(DataOptions(), tiny_data(2000), outer_size=10, slots=2, device=CPU)
    config = TrainerConfig(precision="fp32")
    assert captured_against_not(task, setting, config) == {"same": True, "difference": 0.0}
    start = rows.TrainerConfig  # any change of what is trained without capturing shows
    seeds = iter([0, 0, 1, 1])
    with_seed = Task.with_seed
    monkeypatch.setattr(Task, "with_seed", lambda self, seed: with_seed(self, seed + next(seeds)))
    told = captured_against_not(task, setting, start(precision="fp32"))
    assert not told["same"]
    assert 0 < told["difference"] <= 2


def test_without_a_gpu_there_are_no_copies_and_no_memory() -> None:
    assert copies(lambda: torch.ones(2) + 1) == {"DtoH": 0, "HtoD": 0}
    assert Memory(CPU).bytes == 0


@pytest.mark.parametrize(
    ("sizes", "says"), [((0,), "stack-sizes"), ((128,), "at most 64"), ((), "at most 64")]
)
def test_bad_sizes_are_refused(sizes: tuple[int, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        BenchmarkConfig(stacks=True, stack_sizes=sizes).check()
