"""The benchmark of a schedule's overhead: what it measures, not how fast that is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rich.console import Console

from lambda_rl.agents.benchmark import command
from lambda_rl.agents.benchmark import overhead as module
from lambda_rl.agents.benchmark.command import BenchmarkConfig, benchmark
from lambda_rl.agents.benchmark.overhead import overhead
from lambda_rl.agents.benchmark.timed import RIDDEN


def test_the_dear_calls_decide_and_the_cheap_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    decided: list[list[int]] = []
    parts = module._parts

    def counted(name: str, intervals: int, decisions: int) -> object:
        train, call = parts(name, intervals, decisions)
        schedule = next(c.cell_contents for c in call.__closure__ if hasattr(c.cell_contents, "history"))
        rows: list[int] = []
        decided.append(rows)

        def counting() -> None:
            before = len(schedule.history)
            call()
            rows.append(len(schedule.history) - before)

        return train, counting

    monkeypatch.setattr(module, "_parts", counted)
    monkeypatch.setattr(module, "INTERVAL", 2)
    console = Console(record=True, width=160)
    name = "mlp, 16 px, batch 64"
    found = overhead((name,), repeats=3, console=console)
    assert decided == [[1] * 3, [0] * 3]
    row = found[name]
    assert set(row) == {"step_us", "decision_us", "note_us", "share", "share_long"}
    assert all(value > 0 for value in row.values())
    assert name in console.export_text()


def test_only_the_overhead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = list(RIDDEN)[:1]
    monkeypatch.setattr(command, "overhead", lambda console: overhead(tuple(few), 3, console))
    file = tmp_path / "found.json"
    benchmark(BenchmarkConfig(networks=(), json=str(file), force=True), Console(quiet=True))
    found = json.loads(file.read_text())
    assert list(found["overhead"]) == few
    assert {"machine", "versions", "config"} <= set(found)


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown network 'vgg' to time"):
        overhead(("vgg",))
