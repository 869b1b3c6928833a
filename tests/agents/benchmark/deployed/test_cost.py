"""What a deployed schedule costs: that the right pieces are timed, not how fast they are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from lambda_rl import LearnedSchedule
from lambda_rl.agents.benchmark.command import BenchmarkConfig, benchmark
from lambda_rl.agents.benchmark.deployed import cost
from lambda_rl.agents.benchmark.deployed.cost import RUN, deployed
from lambda_rl.agents.benchmark.deployed.loops import LOOPS, start
from lambda_rl.agents.benchmark.targets import judge_deployed

SMALL = next(iter(LOOPS))


def test_the_dear_calls_decide_and_the_cheap_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[LearnedSchedule] = []

    def remembered(*arguments: object, **options: object) -> LearnedSchedule:
        made.append(LearnedSchedule(*arguments, **options))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(cost, "LearnedSchedule", remembered)
    monkeypatch.setattr(cost, "_memory", lambda running, loop: (1024, 20))
    deployed((SMALL,), repeats=3, console=Console(quiet=True))
    noted, decided = made
    assert len(noted.history) == 1  # the start
    assert len(decided.history) == 1 + 4  # and a warm-up
    assert decided.policy.name == "any-loop"
    assert all(row["held"] != "finite" for row in decided.history)


def test_rows_add_up_and_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"step": 1000, "cosine": 5, "one_cycle": 6, "count": 1, "note": 9, "decision": 509}
    monkeypatch.setattr(cost, "_time", lambda *_: {f"{name}_us": value for name, value in times.items()})
    console = Console(record=True, width=200)
    (row,) = (found := deployed((SMALL,), repeats=1, console=console)).values()
    assert row["share_each_step"] == pytest.approx((1 + 9 + 20 * 500 / RUN) / 1000)
    assert row["share_decisions"] == pytest.approx((1 + 20 * 509 / RUN) / 1000)
    assert row["decisions"] == 20
    assert row["weight_bytes"] == 4 * (768 * 32 + 32 + 32 * 10 + 10)
    assert 10_000 < row["bytes"] < 10_000_000
    assert SMALL in console.export_text()
    (check,) = judge_deployed(found)
    assert (check["target"], check["met"]) == ("≤ 0.02", True)
    (check,) = judge_deployed({"ResNet-18, compiled": {"share_each_step": 0.0011}})
    assert (check["target"], check["met"]) == ("≤ 0.001", False)
    assert judge_deployed({"transformer": {"share_each_step": 0.5}}) == []


@pytest.mark.parametrize("name", LOOPS)
def test_loops_train(name: str) -> None:
    running = start(LOOPS[name], torch.device("cpu"))
    first = float(running.step())
    assert float(running.step()) < first


def test_only_the_deployed(tmp_path: Path) -> None:
    file = tmp_path / "found.json"
    benchmark(BenchmarkConfig(networks=(), json=str(file), force=True, self_test=True), Console(quiet=True))
    found = json.loads(file.read_text())
    assert list(found["deployed"]["rows"]) == [SMALL]
    assert [check["what"].startswith(SMALL) for check in found["deployed"]["targets"]] == [True]
    assert {"machine", "versions", "config"} <= set(found)


def test_an_unknown_loop_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown loop 'vgg' to time"):
        deployed(("vgg",))
