"""How a tracked run starts: which mode, with whose credentials, under which name, group and tags."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lambda_rl.agents.record import start_tracking
from lambda_rl.agents.record.start_tracking import About, start_run


class FakeRun:
    """Stands for a W&B run."""

    id = "abc123"
    name = "fake"
    url = "https://example.org/run"

    def __init__(self) -> None:
        self.settings = type("Settings", (), {"sync_dir": "somewhere"})
        self.defined: list[tuple[str, dict[str, Any]]] = []

    def define_metric(self, name: str, **how: Any) -> None:
        self.defined.append((name, how))

    def log(self, values: dict[str, Any], step: int) -> None:
        """Keeps nothing."""

    def finish(self, exit_code: int = 0) -> None:
        """Does nothing."""


def fake_init(
    monkeypatch: pytest.MonkeyPatch, failing: tuple[str, ...] = (), *, logged_in: bool = True
) -> list[tuple[str, Mapping[str, Any]]]:
    """Replaces the start of W&B; returns the list of modes that are tried, and what is told."""
    tried: list[tuple[str, Mapping[str, Any]]] = []

    def init(mode: str, told: Mapping[str, Any], *_: object) -> FakeRun:
        tried.append((mode, told))
        if mode in failing:
            raise OSError("network is unreachable")
        return FakeRun()

    monkeypatch.setattr(start_tracking, "_init", init)
    monkeypatch.setattr(start_tracking, "logged_in", lambda say: logged_in)
    return tried


def modes(tried: list[tuple[str, Mapping[str, Any]]]) -> list[str]:
    return [mode for mode, _ in tried]


def test_online_without_a_login_is_tracked_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    said: list[str] = []
    tried = fake_init(monkeypatch, logged_in=False)
    tracker = start_run("online", name="x", config={}, dir=tmp_path, say=said.append)
    assert (tracker.mode, modes(tried)) == ("offline", ["offline"])
    assert "nobody is logged in" in said[0]


def test_online_with_a_login_is_online(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE")
    tried, said = fake_init(monkeypatch), []
    tracker = start_run("online", name="x", config={}, dir=tmp_path, say=said.append)
    assert (tracker.mode, modes(tried)) == ("online", ["online"])
    tracker.finish()
    assert FakeRun.url in said[-1]


def test_the_environment_can_forbid_uploading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = fake_init(monkeypatch)
    assert start_run("online", name="x", config={}, dir=tmp_path, say=lambda _: None).mode == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert start_run("online", name="x", config={}, dir=tmp_path, say=lambda _: None).mode == "disabled"
    assert modes(tried) == ["offline"]


@pytest.mark.parametrize(("failing", "mode"), [(("online",), "offline"), (("online", "offline"), "disabled")])
def test_a_failed_start_is_told_and_training_goes_on(
    failing: tuple[str, ...], mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WANDB_MODE")
    tried, said = fake_init(monkeypatch, failing), []
    tracker = start_run("online", name="x", config={}, dir=tmp_path, say=said.append)
    assert (tracker.mode, modes(tried)) == (mode, ["online", "offline"])
    assert "network is unreachable" in said[0]
    tracker.log({"a": 1.0}, 1)


def test_what_a_run_is_found_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = fake_init(monkeypatch)
    monkeypatch.setenv("WANDB_TAGS", "theirs, quick,")
    about = About(
        group="demo", job_type="train", tags=("quick", "long" * 30, "quick", ""), best={"score": "max"}
    )
    tracker = start_run("offline", name="x", config={"a": 1}, dir=tmp_path, about=about, say=lambda _: None)
    ((_, told),) = tried
    assert told == {
        "name": "x", "config": {"a": 1}, "group": "demo", "job_type": "train", "notes": None,
        "tags": ["quick", ("long" * 30)[:64], "theirs"],
    }  # fmt: skip
    assert tracker._run.defined == [
        ("decisions", {"hidden": True}),
        ("*", {"step_metric": "decisions"}),
        ("score", {"step_metric": "decisions", "summary": "max"}),
    ]


def test_nothing_said_leaves_wandbs_own_variables_in_force() -> None:
    assert set(About().settings().values()) == {None}


LOGIN = r"""
import os
import wandb
from lambda_rl.agents.record.start_tracking import logged_in
said = []
seen = [logged_in(said.append)]
os.environ["WANDB_API_KEY"] = "0" * 40
wandb.teardown()
seen.append(logged_in(said.append))
del os.environ["WANDB_API_KEY"]
wandb.teardown()
seen.append(logged_in(said.append))
from wandb.sdk.lib.urls import DEFAULT_BASE_URL  # the host that `wandb login` writes
with open(os.environ["NETRC"], "w") as file:
    file.write(f"machine {DEFAULT_BASE_URL.split('//')[1]}\n  login user\n  password {'0' * 40}\n")
os.chmod(os.environ["NETRC"], 0o600)
wandb.teardown()
seen.append(logged_in(said.append))
print(seen, said)
"""


def test_a_login_is_seen_wherever_wandb_keeps_it(tmp_path: Path) -> None:
    """Without a look at the server: the tests have none."""
    around = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    around |= {"NETRC": str(tmp_path / "netrc"), "HOME": str(tmp_path), "WANDB_CONFIG_DIR": str(tmp_path)}
    command = [sys.executable, "-c", LOGIN]
    options: dict[str, Any] = {
        "env": around,
        "cwd": tmp_path,
        "capture_output": True,
        "text": True,
        "check": False,
    }
    try:
        done = subprocess.run(command, timeout=70, **options)
    except (
        subprocess.TimeoutExpired
    ):  # wandb's own service hung once, on a busy machine; what is tested is ours
        (tmp_path / "netrc").unlink(missing_ok=True)
        done = subprocess.run(command, timeout=100, **options)
    assert done.stdout == "[False, True, False, True] []\n", done.stderr


def test_a_broken_login_is_told_and_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    def broken(**_: object) -> bool:
        raise ValueError("API key must have 40 characters")

    monkeypatch.setattr(wandb, "login", broken)
    said: list[str] = []
    assert not start_tracking.logged_in(said.append)
    assert said == ["W&B: ValueError: API key must have 40 characters"]


def test_another_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'on'; allowed are online, offline, disabled"):
        start_run("on", name="x", config={}, dir=tmp_path)  # type: ignore[arg-type]
