"""The benchmark: that its rows do the same work and its numbers are what they say, not how fast anything is."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console
from tiny_envs import tiny_data

from lambda_rl.agents.benchmark import command, timing
from lambda_rl.agents.benchmark.calibrate import sizes_to_try
from lambda_rl.agents.benchmark.command import BenchmarkConfig, benchmark
from lambda_rl.agents.benchmark.opponents import OPPONENTS, Opponent, Setting
from lambda_rl.agents.benchmark.opponents.dacbench_opponent import DACBench
from lambda_rl.agents.benchmark.opponents.plain import PlainLoop
from lambda_rl.agents.benchmark.opponents.torch_layers import trains_alike
from lambda_rl.agents.benchmark.ours import compiled_graphs, own_cost, recompilations
from lambda_rl.agents.benchmark.page import blocks
from lambda_rl.agents.benchmark.targets import judge
from lambda_rl.agents.benchmark.timed import TIMED
from lambda_rl.agents.benchmark.timing import Row, Spans, time_rows
from lambda_rl.agents.options import DataOptions
from lambda_rl.envs.hardware.calibration import kept_sizes
from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig

CPU = torch.device("cpu")
TASK = Task(width=4, batch_size=8, steps=6, decisions=3, train_size=40, val_size=20, initial_lam=0.1)
SETTING = Setting(DataOptions(), tiny_data(2000), outer_size=10, slots=2, device=CPU, tiny=True)


def test_what_is_timed_is_what_the_results_are_about() -> None:
    """By these names and numbers the files of docs/results are read."""
    assert {name: timed.slots for name, timed in TIMED.items()} == {"mlp": 64, "cnn3": 8}
    for timed in TIMED.values():
        assert (timed.task.train_size, timed.task.val_size) == (2000, 300)
        assert trains_alike(timed.task)
    assert (TIMED["cnn3"].task.steps, TIMED["cnn3"].task.decisions) == (180, 6)


def test_sizes_of_stacks_that_are_tried_are_about_the_usual_one() -> None:
    tried = [sizes_to_try(make_network(NetworkSpec(name, 4, 32))) for name in ("mlp", "cnn3", "resnet9")]
    assert tried == [(4, 8, 16, 32), (1, 2, 4, 8), (1, 2)]


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


def test_a_busy_machine_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shares = iter([0.5, 0.01, 0.01, 0.5])
    monkeypatch.setattr(command, "others_share", lambda seconds: next(shares))
    monkeypatch.setattr(command.OthersMeter, "share", lambda self: 0.4)
    config = BenchmarkConfig(networks=(), deployed=False, json=str(tmp_path / "found.json"))
    quiet = Console(quiet=True)
    with pytest.raises(ValueError, match="just now, other processes used 50%"):
        benchmark(config, quiet)
    with pytest.raises(ValueError, match="while it was timed, other processes used 40%"):
        benchmark(config, quiet)
    assert not (tmp_path / "found.json").exists()
    monkeypatch.setattr(command.OthersMeter, "share", lambda self: 0.02)
    found = benchmark(config, quiet)
    assert found["others"] == {"before": 0.01, "meanwhile": 0.02}
    assert found["believed"]
    forced = benchmark(BenchmarkConfig(networks=(), deployed=False, force=True), quiet)
    assert forced["others"]["before"] == 0.5
    assert not forced["believed"]


def test_spans_that_overlap_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    spans = Spans()
    spans._spans = [(5.0, 6.0), (1.0, 3.0), (2.0, 4.0), (2.5, 3.5)]
    assert spans.covered() == 4.0
    assert spans.covered() == 0.0
    spans._spans = [(1.0, 3.0), (2.0, 4.0)]
    assert spans.summed() == 4.0
    assert spans.summed() == 0.0


def test_the_own_cost_is_a_share() -> None:
    cost = own_cost(TASK, SETTING, TrainerConfig(precision="fp32"))
    assert set(cost) == {"decision", "episode"}
    assert all(0 < share < 1 for share in cost.values())


@pytest.mark.slow
def test_nothing_is_compiled_again_when_lambda_changes_and_slots_are_reset() -> None:
    if shutil.which(os.environ.get("CXX", "g++")) is None:
        pytest.skip("needs a C++ compiler")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the training step is not compiled")
        found = recompilations(TASK.network, SETTING, changes=1000, resets=100)
    assert found == {"changes": 1000, "resets": 100, "recompilations": 0}
    assert compiled_graphs() > 0


def test_what_is_promised() -> None:
    def row(speed: float, precision: str = "fp32", **more: float) -> dict[str, object]:
        shares = {"share_of_floor": 0.4, "share_of_peak": 0.3} | more
        return {"steps_per_second": speed, "ratio": speed / 100, "precision": precision, **shares}

    rows = {
        f"{PlainLoop.label}, fp32": row(100),
        DACBench.label: row(50),
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
    del rows[DACBench.label]
    assert not any("DACBench" in str(check["what"]) for check in judge("mlp", found))


def test_everything_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DACBench, "missing", lambda self, setting: "no lambda-rl[bench]")
    kept = kept_sizes()
    file = tmp_path / "found.json"
    console = Console(record=True, width=160, file=io.StringIO())
    config = BenchmarkConfig(
        networks=("mlp",),
        repeats=1,
        compile=False,
        calibrate=True,
        floor=True,
        deployed=False,
        json=str(file),
        force=True,
        self_test=True,
    )
    benchmark(config, console)
    found = json.loads(file.read_text())
    assert {"machine", "versions", "config", "others", "peaks", "networks"} <= set(found)
    assert {"processor", "cores", "load"} <= set(found["machine"])
    mlp = found["networks"]["mlp"]
    assert (
        len(mlp["rows"]) == 7
    )  # two of SB3's processes, the ensemble, two of ours, two of the fastest kernels
    for row in mlp["rows"].values():
        assert row["lowest"] <= row["steps_per_second"] <= row["highest"]
        assert row["share_of_floor"] > 0
    assert mlp["skipped"] == ["no lambda-rl[bench]"]
    assert "left out: no lambda-rl[bench]" in console.export_text(clear=False)
    assert mlp["task"]["width"] == 4
    assert mlp["targets"]
    assert len(found["calibration"]) == 2  # a precision each
    assert not found["believed"]  # a self-test's numbers mean nothing
    assert kept_sizes() == kept
    assert all(
        "cpu_share_of_fastest" in row for label, row in mlp["rows"].items() if label.startswith("ours")
    )
    assert "share of the achievable floor" in [target["what"] for target in mlp["targets"]]
    file.rename(tmp_path / "achievable-mlp.json")
    made = blocks(tmp_path)
    assert "fc1 weight gradient" in made["achievable-mlp-parts"]
    assert "ours, bf16, N=4" in made["achievable-mlp-shares"]
    assert "not to be believed" in console.export_text()


class Idle(Opponent):
    """Claims to be fast; says when it is closed."""

    label = "idle"
    closed = 0

    def rows(self, task: Task, setting: Setting) -> Iterator[tuple[str, Row]]:
        for precision in setting.precisions:
            yield f"{self.label}, {precision}", Row(lambda: 10**6, close=self._close, precision=precision)

    def _close(self) -> None:
        self.closed += 1


class Unable(Idle):
    label = "unable"

    def supports(self, task: Task) -> bool:
        return False


class Broken(Idle):
    def rows(self, task: Task, setting: Setting) -> Iterator[tuple[str, Row]]:
        raise ValueError("it does not start")


def test_an_opponent_is_a_class_and_a_registration() -> None:
    config = BenchmarkConfig(
        networks=("mlp",), opponents=("idle", "unable"), precision="bf16", repeats=1, compile=False, deployed=False,
        force=True, self_test=True,
    )  # fmt: skip
    with OPPONENTS.temporarily("idle", Idle()) as idle, OPPONENTS.temporarily("unable", Unable()):
        found = benchmark(config, Console(quiet=True))["networks"]["mlp"]
        assert list(found["rows"]) == ["idle, bf16", "ours, bf16, N=4"]
        assert found["rows"]["ours, bf16, N=4"]["ratio"] < 1
        assert found["skipped"] == ["unable cannot train mlp4-n40-val20"]
        assert idle.closed == 1
        with OPPONENTS.temporarily("broken", Broken()), pytest.raises(ValueError, match="does not start"):
            benchmark(dataclasses.replace(config, opponents=("idle", "broken")), Console(quiet=True))
        assert idle.closed == 2  # whatever happens


def test_bad_options_are_refused() -> None:
    for wrong, told in (
        ({"networks": ("resnet9",)}, "unknown network 'resnet9' to time; allowed are mlp, cnn3"),
        ({"opponents": ("rllib",)}, "unknown opponent 'rllib'"),
        ({"repeats": 0}, "repeats"),
        ({"width": -1}, "width"),
        ({"precision": "fp64"}, "--precision must be auto, fp32 or bf16"),
        ({"page": "nowhere.md"}, "--page nowhere.md wants a page that is there"),
    ):
        with pytest.raises(ValueError, match=told):
            benchmark(BenchmarkConfig(**wrong), Console(quiet=True))
    assert BenchmarkConfig(width=7).task("cnn3").width == 7
