"""Resume in a new process, and several processes that train one network."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from deploy_loops import Loop, half_a_run, worker
from places import HELPERS
from tiny_schedules import CARD, CARD15, make_policy
from torch import nn

from lambda_rl import save_policy


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
