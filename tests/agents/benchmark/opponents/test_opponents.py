"""Opponents: that they train what we train, and do the steps that they count."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_envs import tiny_data

from lambda_rl.agents.benchmark.opponents import OPPONENTS, Setting
from lambda_rl.agents.benchmark.opponents.dacbench_opponent import find_python
from lambda_rl.agents.benchmark.opponents.dacbench_worker import model
from lambda_rl.agents.benchmark.opponents.plain import _make
from lambda_rl.agents.benchmark.opponents.torch_layers import LAYERS, plain_network, trains_alike
from lambda_rl.agents.options import DataOptions
from lambda_rl.envs.networks import NETWORKS, Network, NetworkSpec, make_network
from lambda_rl.envs.tasks.task import Task

TASK = Task(width=4, batch_size=8, steps=6, decisions=3, train_size=40, val_size=20, initial_lam=0.1)


def setting(**changes: object) -> Setting:
    images = tiny_data(2000)
    usual = Setting(DataOptions(), images, outer_size=10, slots=3, device=torch.device("cpu"), tiny=True)
    return dataclasses.replace(usual, **changes)


def plain_loads(plain: torch.nn.Module, ours: Network, params: dict[str, torch.Tensor]) -> None:
    """Gives the plain module our parameters, one after the other."""
    exported = ours.exported(params)
    with torch.no_grad():
        for target, name in zip(plain.parameters(), ours.specs, strict=True):
            assert target.shape == exported[name].shape
            target.copy_(exported[name])


@pytest.mark.parametrize("network", ["mlp", "cnn3"])
def test_the_plain_network_is_ours(network: str) -> None:
    ours = make_network(NetworkSpec(network, 4, 16))
    plain = plain_network(ours)
    plain_loads(plain, ours, params := ours.init(torch.Generator().manual_seed(1), torch.float32)[0])
    x = torch.randn(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    stacked = {name: p.unsqueeze(0) for name, p in params.items()}
    got = ours.forward(
        ours.prepared(stacked, torch.float32), {}, ours.arranged(x).unsqueeze(0), training=True
    )
    torch.testing.assert_close(plain(x), got[0].T)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("network", ["mlp", "cnn3"])
def test_the_plain_environment_trains_the_task(network: str, precision: str) -> None:
    task = Task(network=network, width=4, batch_size=16, steps=60, decisions=3, train_size=100, val_size=50)
    env = _make(DataOptions(), task, precision, 30, "cpu")
    env.reset(seed=0)
    rewards, losses = [], []
    for decision in range(3):
        observation, reward, ended, _, _ = env.step(np.zeros(1, np.float32))
        assert ended == (decision == 2)
        assert env._done_steps == 20 * (decision + 1)
        rewards.append(reward)
        losses.append(observation[1])
    assert losses[2] < losses[0]
    for master, used in zip(env._master.parameters(), env._network.parameters(), strict=True):
        assert torch.equal(used, master.to(used.dtype))
    assert sum(rewards) == pytest.approx(env._reward.scale * (env._score - env._reward.chance(10)), abs=1e-6)
    assert [len(labels) for _, labels in env._held] == [50, 30]
    images = set(env._order.flatten().tolist())
    assert len(images) <= 100
    assert not images & set(env._val.tolist())


def test_lambda_shrinks_weights_and_leaves_biases() -> None:
    moved = []
    for action in (-1.0, 1.0):
        env = _make(DataOptions(), TASK, "fp32", 10, "cpu")
        torch.manual_seed(0)
        env.reset(seed=0)
        for _ in range(3):
            env.step(np.full(1, action, np.float32))
        weights, biases = env._optimizer.param_groups
        assert {p.dim() for p in weights["params"]} == {2}
        assert biases["weight_decay"] == 0
        assert weights["weight_decay"] == pytest.approx(10 ** float(env._log_lam[0]))
        moved.append(sum(float(p.detach().square().sum()) for p in weights["params"]))
    assert moved[1] < moved[0]


def test_the_ensemble_does_the_steps_that_it_counts() -> None:
    ((label, row),) = OPPONENTS["vmap"].rows(TASK, setting())
    assert label.endswith("fp32, N=3")
    assert row.run() == 3 * TASK.steps


def test_an_ensemble_is_no_larger_than_our_stacks() -> None:
    for network in ("mlp", "cnn3"):
        ((label, _),) = OPPONENTS["vmap"].rows(dataclasses.replace(TASK, network=network), setting(slots=64))
        assert label.endswith(f"N={NETWORKS[network].side_by_side}")


def test_what_others_would_train_differently_is_left_to_us() -> None:
    assert trains_alike(TASK)
    for changes in (
        {"network": "resnet9", "resolution": 32}, {"network_options": (("depth", 3),)}, {"optimizer": "adamw"},
        {"penalty": "l1"}, {"decay": "decoupled"}, {"augment": True},
    ):  # fmt: skip
        assert not trains_alike(dataclasses.replace(TASK, **changes)), changes


def test_without_dacbench_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert find_python("") is None
    assert find_python(sys.executable) == sys.executable
    with pytest.raises(ValueError, match="--dacbench-python nowhere"):
        find_python("nowhere")


def test_a_python_without_dacbench_is_told(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'ModuleNotFoundError: no dacbench here' >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(ValueError, match="DACBench's process ended: ModuleNotFoundError: no dacbench here"):
        list(OPPONENTS["dacbench"].rows(TASK, setting(dacbench_python=str(python), processes=2)))


@pytest.mark.parametrize("network", ["mlp", "cnn3"])
def test_dacbench_is_told_of_the_same_network(network: str) -> None:
    ours = make_network(NetworkSpec(network, 4, 16))
    made = model(json.loads(json.dumps({"layers": LAYERS[type(ours)](ours)})))
    assert [str(layer) for layer in made] == [*map(str, plain_network(ours)), "LogSoftmax(dim=1)"]


def test_dacbench_does_the_steps_that_it_counts() -> None:
    pytest.importorskip("dacbench", reason="needs the extra bench")
    ((_, row),) = OPPONENTS["dacbench"].rows(TASK, setting())
    try:
        assert row.run() == TASK.boundary(1)
        assert row.versions["torch"] == torch.__version__
    finally:
        row.close()
