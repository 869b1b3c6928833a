"""train_network.py: one network, any schedule, history and weights."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pandas as pd
import pytest
from places import ROOT
from rich.console import Console
from safetensors.torch import load_file

from lambda_rl.agents.single_run import NetworkConfig, train_one
from lambda_rl.envs.tasks.task import Task

TASK = Task(width=4, train_size=64, val_size=40, steps=6, decisions=3, batch_size=16)


def test_trains_prints_and_writes(tmp_path: Path) -> None:
    console = Console(record=True, width=120)
    config = NetworkConfig(
        "pull-down:0.1,0.001", TASK, out=str(tmp_path), save=str(tmp_path / "weights.safetensors")
    )
    result = train_one(config, console)
    text = console.export_text()
    assert f"test accuracy {100 * result.test_accuracy:.2f} %" in text
    assert text.count("%") >= 3 * TASK.decisions
    table = pd.read_csv(tmp_path / "history.csv")
    assert table["lam"].tolist() == pytest.approx([0.1, 0.1 * 0.01 ** (1 / 3), 0.1 * 0.01 ** (2 / 3)])
    assert table["progress"].tolist() == pytest.approx([0, 1 / 3, 2 / 3])
    assert (tmp_path / "history.png").read_bytes().startswith(b"\x89PNG")
    weights = load_file(tmp_path / "weights.safetensors")
    assert sum(tensor.numel() for tensor in weights.values()) == (3 * 16 * 16 + 1) * 4 + (4 + 1) * 10


def test_a_history_can_be_replayed(tmp_path: Path) -> None:
    first = train_one(NetworkConfig("gap:initial=0.01", TASK, out=str(tmp_path)), Console(quiet=True))
    again = train_one(NetworkConfig(f"replay:{tmp_path / 'history.csv'}", TASK), Console(quiet=True))
    assert again.history["log_lam"] == pytest.approx(first.history["log_lam"], abs=1e-12)
    assert again.test_accuracy == first.test_accuracy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--schedule", "pull-sideways:1,2"], "unknown schedule"),
        (["--schedule", "constant:0.01", "--train-size", "1000000"], "train_size=1000000"),
        (["--schedule", "constant:0.01", "--precision", "fp8"], "fp8"),
        (["--schedule", "constant:0.01", "--data", "folder:nowhere"], "nowhere"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(
    options: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = str(ROOT / "scripts" / "train_network.py")
    monkeypatch.setattr(sys, "argv", [script, *options])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(script, run_name="__main__")
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line
