"""A policy that is an artifact of Weights & Biases: fetched once, or one line says why not. The server is made up."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import wandb
from tiny_policies import make_policy

from lambda_rl import save_policy
from lambda_rl.agents.command_line import judging
from lambda_rl.agents.comparison.command import CompareConfig
from lambda_rl.agents.record.artifacts import fetched, origin
from lambda_rl.agents.record.tracking import Tracker


class Artifact:
    """What the server has of one version."""

    version = "v3"
    qualified_name = "me/lambda-rl/policy-quick:v3"

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def download(self, root: str) -> str:
        Path(root).mkdir(parents=True, exist_ok=True)
        for file in self.files:
            shutil.copy(file, root)
        return root


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A server with one artifact; the names that it is asked for."""
    policy, card = tmp_path / "policy.safetensors", tmp_path / "card.txt"
    save_policy(policy, make_policy())
    card.write_text("what it is", encoding="utf-8")
    asked: list[str] = []

    class Api:
        def artifact(self, name: str, type: str) -> Artifact:
            asked.append(name)
            assert type == "model"
            if not name.startswith("me/lambda-rl/policy-quick:"):
                raise wandb.errors.CommError(f"project\n not found: {name}")
            return Artifact([card] if name.endswith(":empty") else [policy, card])

    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr(wandb, "Api", Api)
    return asked


def test_an_artifact_is_fetched_into_a_folder_of_its_version(server: list[str], tmp_path: Path) -> None:
    found = fetched("wandb-artifact://me/lambda-rl/policy-quick:best", tmp_path / "out")
    assert Path(found) == tmp_path / "out" / "policy-quick-v3" / "policy.safetensors"
    assert origin(found) == "me/lambda-rl/policy-quick:v3"
    # A version does not change: it is not asked for again. Without an alias the latest is meant.
    assert fetched("wandb-artifact://me/lambda-rl/policy-quick:v3", tmp_path / "out") == found
    assert fetched("wandb-artifact://me/lambda-rl/policy-quick", tmp_path / "out") == found
    assert server == ["me/lambda-rl/policy-quick:best", "me/lambda-rl/policy-quick:latest"]
    # What is no artifact stays as it is.
    assert fetched("any-loop", tmp_path) == "any-loop"
    assert origin("runs/mine/policy.safetensors") == ""


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("policy-quick:best", "an artifact is named wandb-artifact://ENTITY/PROJECT/NAME:ALIAS"),
        ("other/lambda-rl/policy-quick:best", "W&B did not give it \\(CommError: project not found"),
        ("me/lambda-rl/policy-quick:empty", "holds 0 policy files"),
    ],
)
def test_what_cannot_be_fetched_is_told_in_one_line(
    server: list[str], tmp_path: Path, name: str, why: str
) -> None:
    with pytest.raises(ValueError, match=why) as told:
        fetched(f"wandb-artifact://{name}", tmp_path)
    assert "\n" not in str(told.value)


def test_offline_and_without_wandb_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "wandb-artifact://me/lambda-rl/policy-quick:best"
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(ValueError, match="WANDB_MODE is offline"):
        fetched(name, tmp_path)
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setitem(__import__("sys").modules, "wandb", None)
    with pytest.raises(ValueError, match=r"pip install 'lambda-rl\[train\]'"):
        fetched(name, tmp_path)


def test_compare_takes_an_artifact(
    server: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[CompareConfig] = []
    monkeypatch.setattr("lambda_rl.agents.comparison.command.run_comparison", done.append)
    out = str(tmp_path / "out")
    judging.compare(
        ["--policy", "wandb-artifact://me/lambda-rl/policy-quick:best", "--policy", "any-loop", "--out", out]
    )
    (config,) = done
    assert config.policy == (f"{out}/policies/policy-quick-v3/policy.safetensors", "any-loop")


class Run:
    """Records what it is told."""

    id, name, url = "abc", "fake", "https://example.org"

    def __init__(self) -> None:
        self.settings = type("Settings", (), {"sync_dir": "somewhere"})
        self.used: list[str] = []
        self.alerts: list[str] = []

    def use_artifact(self, name: str, type: str) -> None:
        self.used.append(name)

    def alert(self, title: str, text: str, level: str) -> None:
        self.alerts.append(title)


def test_lineage_names_the_artifact_and_an_alert_is_sent_once(server: list[str], tmp_path: Path) -> None:
    found: Any = fetched("wandb-artifact://me/lambda-rl/policy-quick:best", tmp_path)
    online, offline = Run(), Run()
    for run, mode in ((online, "online"), (offline, "offline")):
        tracker = Tracker(run, mode)  # type: ignore[arg-type]
        tracker.use_policies([found, "any-loop"])
        for title in ("diverged", "diverged", "held"):
            tracker.alert(title, "words")
    assert (online.used, offline.used) == (["me/lambda-rl/policy-quick:v3"], [])
    assert online.alerts == offline.alerts == ["diverged", "held"]
