"""Sizes of stacks that were measured on this machine: kept, found again, and left out where they do not belong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_envs import tiny_data

from lambda_rl.agents.benchmark.calibrate import calibrate
from lambda_rl.envs.hardware import calibration
from lambda_rl.envs.hardware.calibration import keep_sizes, kept_sizes, stack_kind
from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import Trainer

TASK = Task(width=4, batch_size=8, steps=12, decisions=4, train_size=60, val_size=20)
KIND = stack_kind(make_network(NetworkSpec("mlp", 4, 16)), torch.float32, False)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_RL_CACHE", str(tmp_path))


def sizes(count: int, **options: object) -> list[int]:
    trainer = Trainer(tiny_data(2000), "agent", TrainerConfig(precision="fp32", threads=2), **options)  # type: ignore[arg-type]
    return trainer.placement.chunk_sizes(make_network(NetworkSpec("mlp", 4, 16)), count)


def test_sizes_are_kept_and_used() -> None:
    assert kept_sizes() == {}
    assert sizes(64) == [16] * 4
    keep_sizes({"other": 2})
    path = keep_sizes({KIND: 8})
    assert kept_sizes() == {"other": 2, KIND: 8}
    assert sizes(64) == [8] * 8
    assert sizes(64, sizes={KIND: 32}) == [32, 32]
    assert sizes(64, sizes={}) == [16] * 4
    assert path.is_file()


def test_those_of_another_machine_and_damaged_files_count_for_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = keep_sizes({KIND: 8})
    for damaged in (
        "",
        "[]",
        '{"machine": 3}',
        json.dumps({"machine": calibration._machine(), "sizes": {KIND: "8"}}),
    ):
        path.write_text(damaged)
        assert kept_sizes() == {}
    keep_sizes({KIND: 8})
    monkeypatch.setattr(calibration, "_machine", lambda: "another")
    assert kept_sizes() == {}


def test_speeds_are_measured_by_size() -> None:
    kind, speeds = calibrate(tiny_data(2000), TASK, TrainerConfig(precision="fp32"), sizes=(1, 3), repeats=2)
    assert kind == KIND
    assert set(speeds) == {1, 3}
    assert min(speeds.values()) > 0
    assert kept_sizes() == {}  # measuring keeps nothing
