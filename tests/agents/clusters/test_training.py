"""An agent trained on a cluster is the one that is trained here, bit for bit, though a worker is killed on the way."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import ROLLOUTS, metrics, same_policy, tiny_config

from lambda_rl.agents.clusters import ClusterVectorEnv, alike
from lambda_rl.agents.ppo import run as running
from lambda_rl.agents.ppo.checkpoint_file import load_checkpoint
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.run import resume, train
from lambda_rl.agents.record.run_folder import RunFolder


def same_run(one: Path, other: Path) -> None:
    assert same_policy(one, other)
    assert metrics(one) == metrics(other)
    left, right = (load_checkpoint(RunFolder(folder).latest) for folder in (one, other))
    assert repr(left["env"]) == repr(right["env"])
    assert repr(left["random"]) == repr(right["random"])


def test_a_run_goes_on_there_and_here(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Any
) -> None:
    """Begun here, gone on with on a cluster of which a worker dies, ended here."""
    config = tiny_config(tmp_path, "run", ROLLOUTS)
    folder = train(config, stop_after=1, show_progress=False)
    cluster.stand_in.deaths = {3, 11, 12}
    monkeypatch.setattr(running, "Cluster", lambda address: cluster)
    away = dataclasses.replace(config, ray="local", ray_workers=3)
    resume(folder, away, stop_after=1, show_progress=False)
    assert cluster.stand_in.began == 6
    resume(folder, config, show_progress=False)
    same_run(whole, folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ray_workers": 2}, "ray_workers are of a cluster, which --ray names"),
        ({"ray_workers": 5, "ray": "local"}, "ray_workers must be a whole number from 0 to 4"),
        ({"ray": "local", "device": "cuda"}, "on the cores of a cluster; got --device cuda"),
        ({"ray": "nowhere"}, "is no address; allowed are HOST:PORT"),
    ],
)
def test_bad_options_are_told_early(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    if message.startswith("is no"):
        pytest.importorskip("ray", reason="ray is not installed (pip install 'lambda-rl[train,ray]')")
    with pytest.raises(ValueError, match=message):
        train(tiny_config(tmp_path, "run", **options), show_progress=False)
    assert not (tmp_path / "runs").exists()


def test_without_ray_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'lambda-rl\[train,ray\]'"):
        train(tiny_config(tmp_path, "run", ray="local"), show_progress=False)


def telling(folder: Path) -> Callable[..., Any]:
    """As ``alike``, but each process leaves its number; made here so that it travels by its content."""

    def told(make: Callable[..., Any]) -> Any:
        def made(count: int) -> Any:
            (folder / f"{os.getpid()}").touch()
            return make(count)

        return alike(made)

    return told


@pytest.mark.timeout(600)  # processes that import everything
def test_two_machines_train_the_same_agent(
    two_machines: str, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of the two workers is killed in earnest, by SIGKILL, in the midst of a rollout."""
    processes = tmp_path / "processes"
    processes.mkdir()
    monkeypatch.setattr(running, "alike", telling(processes))
    steps, original = [0], ClusterVectorEnv.step

    def step(env: ClusterVectorEnv, actions: np.ndarray) -> Any:
        steps[0] += 1
        if steps[0] == 10:
            os.kill(int(min(path.name for path in processes.iterdir())), signal.SIGKILL)
        return original(env, actions)

    monkeypatch.setattr(ClusterVectorEnv, "step", step)
    config: TrainConfig = tiny_config(tmp_path, "run", ROLLOUTS, ray=two_machines)
    folder = train(config, show_progress=False)
    assert len(list(processes.iterdir())) == 3  # two, and the one that took a place
    same_run(whole, folder)
