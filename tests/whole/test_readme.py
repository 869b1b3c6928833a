"""The README's loop and diff run as they stand; the tables of docs/results.md say what their files say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from places import DOCS, README, blocks
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


def test_it_is_short_and_its_diff_runs() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    (diff,) = blocks("diff")
    lines = diff.splitlines()
    assert {line[0] for line in lines} == {" ", "+", "-"}
    assert sum(line.startswith("+") for line in lines) <= 6
    names = pretended_script()
    for sign in "+-":  # with it, and as the script was
        kept = [line[1:].removeprefix("    ") for line in lines if line[0] in (" ", sign)]
        kept = [line if not line.startswith("    " * 6) else line.strip() for line in kept]
        names.pop("schedule", None)
        with torch.random.fork_rng():
            exec(compile("\n".join(kept), "README.md, diff", "exec"), names)
        assert ("schedule" in names) == (sign == "+")
        if sign == "+":
            schedule = names["schedule"]
            assert isinstance(schedule, LearnedSchedule)
            assert [row["progress"] for row in schedule.history] == [0.0, 0.5, 1.0]


def pretended_script() -> dict[str, Any]:
    """What the script has around the lines of the diff."""

    class Net(torch.nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 10)

    def train(args: Any, model: Net, device: str, loader: list[int], optimizer: Any, epoch: int) -> float:
        for _ in loader:
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        return 2.0 / epoch

    return {
        "Net": Net, "train": train, "test": lambda model, device, loader: (2.1, 0.3), "device": "cpu",
        "args": SimpleNamespace(lr=0.01, gamma=0.7, epochs=2, batch_size=64),
        "train_loader": [0] * 5, "val_loader": [0], "optim": torch.optim, "StepLR": torch.optim.lr_scheduler.StepLR,
    }  # fmt: skip


def tables() -> list[tuple[str, list[list[str]]]]:
    """Each results table: the file it is made of, and its rows."""
    text = (DOCS / "results.md").read_text(encoding="utf-8")
    found = re.findall(r"<!-- table of (\S+) -->\n((?:\|.*\n)+)", text)
    return [(path, [row.strip("|\n ").split(" | ") for row in text.splitlines()[2:]]) for path, text in found]


@pytest.mark.parametrize("path", [path for path, _ in tables()])
def test_tables_say_what_the_files_say(path: str) -> None:
    schedules = json.loads((DOCS / path).read_text(encoding="utf-8"))["schedules"]
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
