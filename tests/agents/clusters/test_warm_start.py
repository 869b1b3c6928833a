"""A policy for any loop whose tasks are played on a cluster is the one whose tasks are played here."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from lambda_rl import load_policy
from lambda_rl.agents.clusters import alike
from lambda_rl.agents.warm_start import players
from lambda_rl.agents.warm_start.committee import CommitteeConfig
from lambda_rl.agents.warm_start.config import WarmStartConfig
from lambda_rl.agents.warm_start.episodes import Exploration
from lambda_rl.agents.warm_start.imitation import ImitationConfig
from lambda_rl.agents.warm_start.reinforce import ReinforceConfig
from lambda_rl.agents.warm_start.run import CURVES, train

BASE = {
    "network": "mlp", "data": "table:clusters:8x3x2000:0", "width": 6, "resolution": 1, "train_size": 40,
    "val_size": 20, "steps": 24, "decisions": 4, "batch_size": 8, "initial_kappa": 1.0, "lr_told": "nominal",
}  # fmt: skip


@pytest.fixture
def config(tmp_path: Path) -> WarmStartConfig:
    suite = tmp_path / "tiny.yaml"
    suite.write_text(yaml.safe_dump({"bases": [BASE], "vary": {"label_noise": {"choice": [0.0, 0.4]}}}))
    return WarmStartConfig(
        name="here", out=str(tmp_path), suite=str(suite), validation_suite=str(suite), validation_tasks=2,
        rounds=2, tasks=3, eval_every=1, branch_after=0.0, hidden=(8,), threads=1, exploration=Exploration(copies=2),
        imitation=ImitationConfig(steps=4, batch_size=32),
        committee=CommitteeConfig(members=2, hidden=(4,), steps=5),
        reinforce=ReinforceConfig(rounds=1, tasks=2, copies=2, batch_size=8, n_epochs=1, anchor=1),
    )  # fmt: skip


def same_run(one: Path, other: Path) -> None:
    """Curves, learning curve and policy, to the last digit."""
    assert (one / CURVES).read_text() == (other / CURVES).read_text()
    rows = [(folder / "metrics.csv").read_text().splitlines() for folder in (one, other)]
    clock = rows[0][0].split(",").index("seconds")
    ours, theirs = ([line.split(",") for line in each] for each in rows)
    for mine, other_row in zip(ours, theirs, strict=True):
        del mine[clock], other_row[clock]
        assert mine == other_row
    layers = [
        [array for layer in load_policy(folder / "policy.safetensors").layers for array in layer]
        for folder in (one, other)
    ]
    assert all(map(np.array_equal, *layers))


def test_tasks_played_elsewhere_give_the_same_run(
    config: WarmStartConfig, monkeypatch: pytest.MonkeyPatch, cluster: Any
) -> None:
    here = train(config)
    monkeypatch.setattr(players, "Cluster", lambda address: cluster)
    away = train(dataclasses.replace(config, name="away", ray="local"), stop_after=1)
    away = train(dataclasses.replace(config, name="away"), resume=True)
    same_run(here, away)
    with pytest.raises(ValueError, match="cores of a cluster; got --device cuda"):
        train(dataclasses.replace(config, name="gpu", ray="local", device="cuda"))


def dying(marker: Path) -> Callable[..., Any]:
    """As ``alike``, but the first process that plays is killed; made here so that it travels by its content."""

    def told(make: Callable[[], Callable[..., Any]]) -> Any:
        def made() -> Callable[..., Any]:
            play = make()

            def plays(*unit: Any) -> Any:
                if not marker.exists():
                    marker.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return play(*unit)

            return plays

        return alike(made)

    return told


@pytest.mark.timeout(600)  # processes that import everything
def test_two_machines_play_the_same_tasks_though_a_player_is_killed(
    two_machines: str, config: WarmStartConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = train(config)
    monkeypatch.setattr(players, "alike", dying(tmp_path / "marker"))
    away = train(dataclasses.replace(config, name="away", ray=two_machines))
    assert (tmp_path / "marker").exists()
    same_run(here, away)
