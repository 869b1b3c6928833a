"""The benchmark: that its rows do the same work and its numbers are what they say, not how fast anything is."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from lambda_rl.agents.benchmark import command as package
from lambda_rl.agents.benchmark import machine, timing
from lambda_rl.agents.benchmark.command import BenchmarkConfig, benchmark
from lambda_rl.agents.benchmark.machine import OthersMeter
from lambda_rl.agents.benchmark.opponents.dacbench_opponent import dacbench, find_python
from lambda_rl.agents.benchmark.opponents.ensembling import ensemble
from lambda_rl.agents.benchmark.opponents.plain import PlainEnv, plain_network
from lambda_rl.agents.benchmark.ours import _Spans, compiled_graphs, own_cost, recompilations
from lambda_rl.agents.benchmark.report import DACBENCH, NAIVE, judge
from lambda_rl.agents.benchmark.timing import Row, time_rows
from lambda_rl.envs.data import load_train
from lambda_rl.envs.networks import Network, NetworkSpec, make_network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig

CPU = torch.device("cpu")
TASK = Task(width=4, batch_size=8, steps=6, decisions=3, train_size=40, val_size=20, initial_lam=0.1)


def test_rows_are_timed_in_turn_and_the_warm_up_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    order: list[str] = []
    seconds: dict[str, Iterator[float]] = {
        "a": iter([100.0, 1.0, 2.0, 4.0]),
        "b": iter([50.0, 0.5, 0.5, 0.5]),
    }
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now)

    def run(label: str) -> int:
        nonlocal now
        order.append(label)
        now += next(seconds[label])
        return 10

    found = time_rows({"a": Row(lambda: run("a")), "b": Row(lambda: run("b"))}, 3, CPU)
    assert order == ["a", "b"] * 4
    assert found["a"]["steps_per_second"] == 5
    assert (found["a"]["lowest"], found["a"]["highest"], found["a"]["first_use_seconds"]) == (2.5, 10, 100)
    assert (found["b"]["ratio"], found["b"]["lowest_ratio"], found["b"]["highest_ratio"]) == (4, 2, 8)


def test_only_the_time_of_others_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, every, own = iter([0.0, 10.0]), iter([100.0, 115.0]), iter([3.0, 12.0])
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(machine, "_cpu_seconds", lambda: next(every))
    monkeypatch.setattr(machine, "_own_seconds", lambda: next(own))
    monkeypatch.setattr(machine, "available_cores", lambda: 2)
    assert OthersMeter().share() == pytest.approx((15 - 9) / 10 / 2)


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="needs /proc")
def test_work_of_our_own_processes_is_ours() -> None:
    before, machine_before = machine._own_seconds(), machine._cpu_seconds()
    burn = "import time\nwhile time.process_time() < 0.5: pass\ninput()"
    process = subprocess.Popen([sys.executable, "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        stat = Path(f"/proc/{process.pid}/stat")
        while sum(map(int, stat.read_text().rsplit(")", 1)[1].split()[11:13])) < 40:
            time.sleep(0.01)
        assert machine._own_seconds() - before > 0.3  # alive
    finally:
        process.communicate(b"\n")
    assert machine._own_seconds() - before > 0.3  # ended
    machine_now = machine._cpu_seconds()
    assert machine_now is not None
    assert machine_before is not None
    assert machine_now - machine_before > 0.3


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shares = iter([0.5, 0.01, 0.01, 0.5])
    monkeypatch.setattr(package, "others_share", lambda seconds: next(shares))
    monkeypatch.setattr(package.OthersMeter, "share", lambda self: 0.4)
    config = BenchmarkConfig(networks=(), overhead=False, json=str(tmp_path / "found.json"))
    quiet = Console(quiet=True)
    with pytest.raises(ValueError, match="just now, other processes used 50%"):
        benchmark(config, quiet)
    with pytest.raises(ValueError, match="while it was timed, other processes used 40%"):
        benchmark(config, quiet)
    assert not (tmp_path / "found.json").exists()
    monkeypatch.setattr(package.OthersMeter, "share", lambda self: 0.02)
    found = benchmark(config, quiet)
    assert found["others"] == {"before": 0.01, "meanwhile": 0.02}
    assert found["believed"]
    forced = benchmark(BenchmarkConfig(networks=(), overhead=False, force=True), quiet)
    assert forced["others"]["before"] == 0.5
    assert not forced["believed"]


def plain_loads(plain: torch.nn.Module, ours: Network, params: dict[str, torch.Tensor]) -> None:
    """Gives the plain module our parameters, one after the other."""
    exported = ours.exported(params)
    with torch.no_grad():
        for target, name in zip(plain.parameters(), ours.specs, strict=True):
            assert target.shape == exported[name].shape
            target.copy_(exported[name])


@pytest.mark.parametrize("network", ["mlp", "cnn3"])
def test_the_plain_network_is_ours(network: str) -> None:
    task = Task(network=network, width=4)
    plain = plain_network(task, 10)
    ours = make_network(NetworkSpec(network, 4, 16))
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
    env = PlainEnv("synthetic", task, precision, 30)
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
        env = PlainEnv("synthetic", TASK, "fp32", 10)
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
    row = ensemble("synthetic", TASK, "fp32", 10, count=3, threads=1)
    assert row.run() == 3 * TASK.steps


def test_spans_that_overlap_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = _Spans()
    spans._spans = [(5.0, 6.0), (1.0, 3.0), (2.0, 4.0), (2.5, 3.5)]
    assert spans.covered() == 4.0
    assert spans.covered() == 0.0


def test_the_own_cost_is_a_share() -> None:
    cost = own_cost(load_train("synthetic"), TASK, 10, 2, TrainerConfig(precision="fp32"), episodes=1)
    assert set(cost) == {"decision", "episode"}
    assert all(0 < share < 1 for share in cost.values())


@pytest.mark.slow
def test_nothing_is_compiled_again_when_lambda_changes_and_slots_are_reset() -> None:
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("needs a C++ compiler")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the training step is not compiled")
        found = recompilations(load_train("synthetic"), changes=1000, resets=100)
    assert found == {"changes": 1000, "resets": 100, "recompilations": 0}
    assert compiled_graphs() > 0


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
        dacbench(str(python), load_train("synthetic"), TASK, 10, processes=2, decisions=1)


def test_dacbench_does_the_steps_that_it_counts() -> None:
    pytest.importorskip("dacbench", reason="needs the extra bench")
    data = load_train("synthetic")
    row, versions = dacbench(sys.executable, data, TASK, 10, processes=1, decisions=2)
    try:
        assert row.run() == 2 * TASK.boundary(1)
        assert versions["torch"] == torch.__version__
    finally:
        row.close()


def test_what_is_promised() -> None:
    def row(speed: float, precision: str = "fp32", **more: float) -> dict[str, object]:
        shares = {"share_of_floor": 0.4, "share_of_peak": 0.3} | more
        return {"steps_per_second": speed, "ratio": speed / 100, "precision": precision, **shares}

    rows = {
        f"{NAIVE}, fp32": row(100),
        DACBENCH: row(50),
        "ours, fp32": row(160),
        "ours, bf16": row(390, "bf16", share_of_floor=0.6),
    }
    found = {"rows": rows, "own_cost": {"decision": 0.06, "episode": 0.1}}
    checks = {str(check["what"]): check for check in judge("mlp", found)}
    assert checks["fp32, times the plain loop in fp32"]["met"]
    assert not checks["best, times the plain loop in fp32"]["met"]
    assert checks["best, times DACBench"]["found"] == pytest.approx(7.8)
    assert checks["share of the floor"]["met"]
    assert not checks["own cost, share of a decision"]["met"]
    cnn = {str(check["what"]): check["met"] for check in judge("cnn3", found)}
    assert cnn["best, times the plain loop in fp32"]
    assert cnn["share of the bf16 peak"]
    assert not cnn["share of the fp32 peak"]
    del rows[DACBENCH]
    assert not any("DACBench" in str(check["what"]) for check in judge("mlp", found))


def test_everything_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "find_python", lambda wanted: None)
    file = tmp_path / "found.json"
    console = Console(record=True, width=160, file=io.StringIO())
    config = BenchmarkConfig(
        networks=("mlp",),
        repeats=1,
        compile=False,
        overhead=False,
        json=str(file),
        force=True,
        self_test=True,
    )
    benchmark(config, console)
    found = json.loads(file.read_text())
    assert {"machine", "versions", "config", "others", "peaks", "networks"} <= set(found)
    assert {"processor", "cores", "load"} <= set(found["machine"])
    mlp = found["networks"]["mlp"]
    assert len(mlp["rows"]) == 5  # two of SB3's processes, the ensemble, two of ours
    for row in mlp["rows"].values():
        assert row["lowest"] <= row["steps_per_second"] <= row["highest"]
        assert row["share_of_floor"] > 0
    assert "DACBench is not installed" in mlp["skipped"][0]
    assert mlp["task"]["width"] == 4
    assert mlp["targets"]
    assert not found["believed"]  # a self-test's numbers mean nothing
    assert "not to be believed" in console.export_text()


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown network 'resnet9' to time; allowed are mlp, cnn3"):
        BenchmarkConfig(networks=("resnet9",))
    with pytest.raises(ValueError, match="unknown opponent 'rllib'"):
        BenchmarkConfig(opponents=("rllib",))
    with pytest.raises(ValueError, match="repeats"):
        BenchmarkConfig(repeats=0)
    with pytest.raises(ValueError, match="width"):
        BenchmarkConfig(width=-1)
    assert BenchmarkConfig(width=7).task("cnn3").width == 7
