"""What is passed on of a run names no folder of this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lambda_rl.agents.ppo import run as training
from lambda_rl.agents.ppo.checkpoint import read_origin
from lambda_rl.agents.ppo.checkpoint_file import load_checkpoint
from lambda_rl.agents.record.provenance import command_line, without_places
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.policy.file import load_policy


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("/disk/alice/clinic/patients.tar", "patients.tar"),
        ("~/clinic/patients", "patients"),
        ("~alice/patients/", "patients"),
        ("../../alice/patients", "patients"),
        ("C:\\disk\\alice\\patients", "patients"),
        ("folder:/disk/alice/clinic/patients", "folder:patients"),
        ("folder:C:\\disk\\alice\\patients", "folder:patients"),
        ("--data=folder:/disk/alice/x y/patients/", "--data=folder:patients"),
        (
            "learned:/disk/alice/p.safetensors,lam_meaning=convert",
            "learned:p.safetensors,lam_meaning=convert",
        ),
        ("constant:1 learned:/disk/alice/p.safetensors", "constant:1 learned:p.safetensors"),
        ("runs/mine", "runs/mine"),
        ("folder:images", "folder:images"),
        ("--ppo.learning-rate", "--ppo.learning-rate"),
        ("5e-4", "5e-4"),
        ("/", "/"),
        ("..", ".."),
        ("", ""),
    ],
)
def test_of_a_path_of_this_machine_the_last_part_is_recorded(given: str, told: str) -> None:
    assert without_places(given) == told


def test_the_recorded_command_has_no_paths_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [
        "/disk/alice/lambda/scripts/train_agent.py",
        "--data",
        "folder:/disk/alice/my images",
        "--out",
        "runs",
    ]
    monkeypatch.setattr(sys, "argv", given)
    assert command_line() == "python scripts/train_agent.py --data 'folder:my images' --out runs"
    monkeypatch.setattr("sys.argv", ["/x/lambda_rl/agents/constrained/__main__.py", "--seeds", "3"])
    assert command_line() == "python -m lambda_rl.agents.constrained --seeds 3"


def test_a_policy_file_and_a_tracked_run_name_no_folder_of_this_machine(whole: Path) -> None:
    """The suite and the output folder of this run have absolute paths."""
    state = load_checkpoint(RunFolder(whole).latest)
    origin = read_origin(state, whole)
    assert Path(origin.config.suite).is_absolute()
    assert str(whole.parent.parent).encode() not in (whole / "policy.safetensors").read_bytes()
    assert load_policy(whole / "policy.safetensors").card.results["validation"]["suite"] == "tiny.yaml"
    shown = training._told_options(origin)
    assert (shown["suite"], shown["out"]) == ("tiny.yaml", "runs")
    assert str(whole.parent.parent) not in str(shown)
