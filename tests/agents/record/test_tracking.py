"""Tracking: what is written to disk offline, which mode is chosen, and that a failure never stops training."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stable_baselines3.common.logger import Logger

from lambda_rl.agents.record.start_tracking import start_run
from lambda_rl.agents.record.tracking import Tracker, WandbWriter

CONFIG = {"preset": "quick", "ppo": {"n_steps": 120, "learning_rate": 1e-3}}


class FakeRun:
    """Records what is logged; stands for a W&B run where the real one would only be slow."""

    id = "abc123"
    name = "fake"
    url = "https://example.org/run"

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, Any]]] = []
        self.finished: list[int] = []
        self.settings = type("Settings", (), {"sync_dir": "somewhere"})

    def log(self, values: dict[str, Any], step: int) -> None:
        self.rows.append((step, values))

    def finish(self, exit_code: int = 0) -> None:
        self.finished.append(exit_code)


def test_offline_run_writes_config_metrics_table_picture_and_artifact(tmp_path: Path) -> None:
    said: list[str] = []
    policy = tmp_path / "policy.safetensors"
    policy.write_bytes(b"weights")
    picture = tmp_path / "picture.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(picture)

    tracker = start_run("offline", name="a run", config=CONFIG, dir=tmp_path / "run", say=said.append)
    logger = Logger(folder=None, output_formats=[WandbWriter(tracker)])
    logger.record("rollout/ep_rew_mean", np.float32(0.25))
    logger.record("time/label", "seventy")
    logger.record("secret/value", 1.0, exclude="wandb")
    logger.dump(step=1920)
    rows = [
        {"task": f"task{t}", "schedule": "learned", "progress": p, "log_lam": -2.0 + p, "extra": 1}
        for t in range(2)
        for p in (0.0, 0.5, 1.0)
    ]
    tracker.log_lambda_trajectories(rows)
    tracker.log_image("figures/run", picture)
    tracker.log_policy_artifact(policy, {"suite": "quick"})
    directory = tracker.directory
    assert tracker.mode == "offline"
    assert tracker.run_id
    assert directory is not None
    tracker.finish()
    tracker.finish()  # harmless

    assert directory.parent == tmp_path / "run" / "wandb"
    recorded, until = b"", time.monotonic() + 20.0
    while b"quick" not in recorded and time.monotonic() < until:  # its own process may still be writing
        time.sleep(0.1)
        recorded = b"".join(path.read_bytes() for path in directory.glob("*.wandb"))
    for text in (b"ep_rew_mean", b"seventy", b"learning_rate", b"policy-a-run", b"quick"):
        assert text in recorded, text
    assert b"secret/value" not in recorded
    tables = [json.loads(path.read_text()) for path in directory.rglob("*.table.json")]
    trajectory = next(t for t in tables if t["columns"] == ["task", "schedule", "progress", "log_lam"])
    assert trajectory["data"][0] == ["task0", "learned", 0.0, -2.0]
    assert len(trajectory["data"]) == 6
    assert len(tables) == 2  # the table and the data of the chart
    assert len(list(directory.rglob("media/images/figures/*.png"))) == 1
    assert said[-1].endswith(f"wandb sync {directory}")
    assert sum("wandb sync" in line for line in said) == 1


def test_a_run_resumed_offline_keeps_its_id_and_both_parts_are_to_be_synced(tmp_path: Path) -> None:
    said: list[str] = []
    first = start_run("offline", name="x", config={}, dir=tmp_path, say=said.append)
    first.log({"score": 0.1}, 10)
    first.finish()
    # Folders are named by the second; a resume in the same second would only happen in a test.
    assert first.directory is not None
    earlier = first.directory.with_name(f"offline-run-20200101_000000-{first.run_id}")
    first.directory.rename(earlier)
    second = start_run("offline", name="x", config={}, dir=tmp_path, resume_id=first.run_id, say=said.append)
    second.log({"score": 0.2}, 20)
    second.finish()
    assert second.run_id == first.run_id
    assert said[-1].endswith(f"wandb sync {earlier} {second.directory}")


def test_disabled_tracking_does_nothing_and_does_not_import_wandb(tmp_path: Path) -> None:
    code = f"""
import sys
from lambda_rl.agents.record.start_tracking import start_run
from lambda_rl.agents.record.tracking import WandbWriter
t = start_run("disabled", name="x", config={{}}, dir={str(tmp_path / "run")!r})
t.log({{"a": 1}}, 1)
WandbWriter(t).write({{"a": 1.0}}, {{"a": ()}}, 2)
t.log_lambda_trajectories([{{"task": "t", "schedule": "s", "progress": 0, "log_lam": -1}}])
t.log_image("x", "no.png")
t.log_html("x", "no.html")
t.log_table("x", ["a"], [[1]], bars=("a", "a"))
t.summarise({{"a": 1}})
t.log_policy_artifact({str(Path(__file__))!r}, {{}})
t.finish()
assert (t.mode, t.run_id, t.directory) == ("disabled", None, None)
sys.exit("wandb was imported" if "wandb" in sys.modules else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "run").exists()


def test_a_failure_in_mid_run_ends_tracking_and_not_training() -> None:
    said: list[str] = []
    run = FakeRun()
    tracker = Tracker(run, "offline", said.append)
    tracker.log({"a": 1.0}, 10)
    monkey = RuntimeError("service died")

    def broken(*_: object, **__: object) -> None:
        raise monkey

    run.log = broken  # type: ignore[method-assign]
    tracker.log({"a": 2.0}, 20)
    tracker.log({"a": 3.0}, 30)
    assert run.rows == [(10, {"a": 1.0, "decisions": 10})]
    assert sum("service died" in line for line in said) == 1


def test_steps_never_go_backwards() -> None:
    run = FakeRun()
    tracker = Tracker(run, "offline")
    for step in (5, 3, 8):
        tracker.log({"step": step}, step)
    assert [step for step, _ in run.rows] == [5, 5, 8]


@pytest.mark.parametrize(("error", "code"), [(None, 0), (RuntimeError, 1)])
def test_the_context_manager_finishes_with_the_right_code(error: type[Exception] | None, code: int) -> None:
    run = FakeRun()

    def body() -> None:
        with Tracker(run, "offline", lambda _: None):
            if error is not None:
                raise error("stop")

    if error is None:
        body()
    else:
        with pytest.raises(error, match="stop"):
            body()
    assert run.finished == [code]


def test_bad_input_is_refused(tmp_path: Path) -> None:
    tracker = Tracker(None, "disabled")
    with pytest.raises(FileNotFoundError, match="policy"):
        tracker.log_policy_artifact(tmp_path / "missing.safetensors", {})
    with pytest.raises(ValueError, match="lacks \\['log_lam'\\]"):
        tracker.log_lambda_trajectories([{"task": "t", "schedule": "s", "progress": 0.0}])
