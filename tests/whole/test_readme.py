"""The README's loop runs as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from places import README, blocks
from tiny_schedules import make_policy

from lambda_rl import LearnedSchedule, save_policy


def test_the_loop_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (loop,) = (block for block in blocks("python") if "LearnedSchedule" in block)
    save_policy(tmp_path / "runs" / "demo" / "policy.safetensors", make_policy())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    with torch.random.fork_rng():
        exec(compile(loop, "README.md", "exec"), names)  # the README is ours
    schedule = names["schedule"]
    assert isinstance(schedule, LearnedSchedule)
    values = [row["lam"] for row in schedule.history]
    assert len(values) == 16
    assert len(set(values)) > 1
    optimizer = names["optimizer"]
    assert isinstance(optimizer, torch.optim.Optimizer)
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    assert decays == [schedule.value, 0.0]


def test_the_environments_are_made_as_it_says() -> None:
    (making,) = (block for block in blocks("python") if "make_vec" in block)
    names: dict[str, object] = {}
    exec(compile(making, "README.md", "exec"), names)
    for key in ("env", "envs"):
        names[key].close()  # type: ignore[attr-defined]


def tables() -> list[tuple[str, list[list[str]]]]:
    """Each results table: the file it is made of, and its rows."""
    found = re.findall(r"<!-- table of (\S+) -->\n((?:\|.*\n)+)", README.read_text(encoding="utf-8"))
    return [(path, [row.strip("|\n ").split(" | ") for row in text.splitlines()[2:]]) for path, text in found]


@pytest.mark.parametrize("path", [path for path, _ in tables()])
def test_tables_say_what_the_files_say(path: str) -> None:
    schedules = json.loads((README.parent / path).read_text(encoding="utf-8"))["schedules"]
    rows = dict(tables())[path]
    assert len(rows) >= 8
    for name, accuracy, difference, regret, runs in rows:
        item = schedules[name.strip("*")]
        assert accuracy.strip("*") == f"{item['test_accuracy_mean']:.2f}"
        assert regret == f"{item['regret_mean']:.2f}"
        assert runs == str(item["inner_runs"])
        if name != "best-single-constant":
            low, high = item["ci95"]
            assert difference == f"{item['difference_mean']:+.2f} [{low:+.2f}, {high:+.2f}]"
