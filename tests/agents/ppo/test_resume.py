from __future__ import annotations

import dataclasses
import runpy
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import metrics, same_policy, tiny_config

from lambda_rl.agents.ppo.checkpoint import random_state, set_random_state
from lambda_rl.agents.ppo.checkpoint_file import load_checkpoint, to_bytes
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.config_file import save_config
from lambda_rl.agents.ppo.run import resume, train
from lambda_rl.agents.record.run_folder import RunFolder


def checkpoint(folder: Path) -> Path:
    return RunFolder(folder).latest


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in checkpoint(folder).parent.iterdir())


def same(one: Any, other: Any, where: str = "") -> None:
    """Compares nested plain values and tensors bit for bit."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            same(one[key], other[key], f"{where}/{key}")
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for i, pair in enumerate(zip(one, other, strict=True)):
            same(*pair, f"{where}/{i}")
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, where
        assert torch.equal(one, other), where
    else:
        assert one == other or (one != one and other != other), where


def same_end(one: Path, other: Path) -> None:
    """Both runs ended in the same state, of everything but the clock."""
    assert same_policy(one, other)
    assert metrics(one) == metrics(other)
    left, right = (load_checkpoint(checkpoint(folder)) for folder in (one, other))
    for state in (left, right):
        state["origin"] = None
        state["progress"]["elapsed"] = None
        state["model"]["episodes"] = [episode[:2] for episode in state["model"]["episodes"]]
    same(left, right)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny_config(tmp_path_factory.mktemp("whole"), "whole", rollouts=5), show_progress=False)


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """The same run, ended after 3 rollouts."""
    return train(tiny_config(tmp_path, "parts", rollouts=5), show_progress=False, stop_after=3)


def test_two_parts_equal_the_whole(uninterrupted: Path, stopped: Path) -> None:
    assert load_checkpoint(checkpoint(stopped))["model"]["num_timesteps"] == 72
    # What other code does to the global generators in between must not matter.
    np.random.seed(99)  # noqa: NPY002
    torch.manual_seed(99)
    assert resume(stopped, command="python scripts/train_agent.py --resume", show_progress=False) == stopped
    same_end(uninterrupted, stopped)
    assert [row["decisions"] for row in metrics(stopped)] == ["24", "48", "72", "96", "120"]
    assert (stopped / "command.txt").read_text().splitlines()[1:] == [
        "python scripts/train_agent.py --resume"
    ]
    elapsed = [float(row["time/elapsed"]) for row in metrics(stopped, timed=True)]
    assert elapsed == sorted(elapsed)


def test_rows_after_the_checkpoint_are_not_doubled(uninterrupted: Path, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "sparse", rollouts=5, checkpoint_every=2)
    stopped = train(config, show_progress=False, stop_after=2)
    saved = checkpoint(stopped).read_bytes()
    resume(stopped, show_progress=False, stop_after=1)
    checkpoint(stopped).write_bytes(saved)  # as if killed after rollout 3, whose row is written
    assert len(metrics(stopped)) == 3
    resume(stopped, show_progress=False)
    same_end(uninterrupted, stopped)


def test_resume_of_a_finished_run_changes_nothing(uninterrupted: Path) -> None:
    before = (uninterrupted / "policy.safetensors").read_bytes(), metrics(uninterrupted, timed=True)
    resume(uninterrupted, show_progress=False)
    assert ((uninterrupted / "policy.safetensors").read_bytes(), metrics(uninterrupted, timed=True)) == before


def command(repository: Path, config: TrainConfig, *more: str) -> list[str]:
    ppo = config.ppo
    return [
        sys.executable, str(repository / "scripts" / "train_agent.py"), *more,
        "--name", config.name, "--out", config.out, "--suite", config.suite, "--wandb", "disabled",
        "--threads", "1", "--total-decisions", str(config.total_decisions), "--eval-every", str(config.eval_every),
        "--eval-seeds", str(config.eval_seeds),
        "--ppo.n-envs", str(ppo.n_envs), "--ppo.n-steps", str(ppo.n_steps),
        "--ppo.batch-size", str(ppo.batch_size), "--ppo.n-epochs", str(ppo.n_epochs),
    ]  # fmt: skip


def test_sigkill_and_resume_from_the_command_line(repository: Path, tmp_path: Path) -> None:
    rollouts = 30
    whole = train(tiny_config(tmp_path, "whole", rollouts=rollouts, eval_every=10), show_progress=False)
    config = tiny_config(tmp_path, "killed", rollouts=rollouts, eval_every=10)
    folder = config.folder
    process = subprocess.Popen(command(repository, config), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 90
        while len(metrics(folder) if (folder / "metrics.csv").exists() else []) < 4:
            assert process.poll() is None, process.communicate()[0].decode()
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    done = load_checkpoint(checkpoint(folder))["model"]["num_timesteps"]
    assert 0 < done < config.total_decisions, "the run was to be killed in the middle"

    # what a kill within a write leaves
    (checkpoint(folder).parent / f".latest.{process.pid}.0123abcd.pt").write_bytes(b"half")
    again = [sys.executable, str(repository / "scripts" / "train_agent.py"), "--resume", str(folder)]
    refused = subprocess.run([*again, "--seed", "3"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "seed was 0, now 3" in refused.stderr

    resumed = subprocess.run(again, capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert f"resuming {folder} after {done:,} of {config.total_decisions:,} decisions" in resumed.stdout
    same_end(whole, folder)
    assert checkpoints(folder) == ["latest.pt", "previous.pt"]


def test_an_interrupted_write_leaves_the_old_checkpoint(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint(stopped).read_bytes()

    real = Path.write_bytes

    def broken(path: Path, content: Any) -> int:
        if path.suffix != ".pt":
            return real(path, content)
        real(path, b"half a checkpoint")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", broken)
        with pytest.raises(KeyboardInterrupt):
            resume(stopped, show_progress=False)
    assert checkpoint(stopped).read_bytes() == before
    assert checkpoints(stopped) == ["latest.pt", "previous.pt"]


def test_another_configuration_is_refused(stopped: Path, tmp_path: Path) -> None:
    other = dataclasses.replace(tiny_config(tmp_path, "parts", rollouts=9), seed=4)
    with pytest.raises(ValueError, match=r"parts.*total_decisions was 120, now 216; seed was 0, now 4"):
        resume(stopped, other, show_progress=False)


def test_an_edited_config_file_is_noticed(stopped: Path, tmp_path: Path) -> None:
    edited = tiny_config(tmp_path, "parts", rollouts=5, eval_every=1)
    save_config(stopped / "config.yaml", edited)
    with pytest.raises(ValueError, match="eval_every was 2, now 1"):
        resume(stopped, show_progress=False)


def test_other_data_is_refused(stopped: Path, tmp_path: Path) -> None:
    other = tiny_config(tmp_path, "parts", rollouts=5, data="synthetic:1")
    with pytest.raises(ValueError, match="cannot resume on other data: synthetic:1"):
        resume(stopped, other, show_progress=False)


def test_what_cannot_be_resumed_says_why(stopped: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such run folder"):
        resume(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"config\.yaml: no such file; is this a run folder"):
        resume(tmp_path / "empty")
    whole = checkpoint(stopped).read_bytes()
    RunFolder(stopped).previous.unlink()
    for content in (b"", b"nonsense", whole[: len(whole) // 2]):
        checkpoint(stopped).write_bytes(content)
        with pytest.raises(ValueError, match=r"latest\.pt: not a readable checkpoint"):
            resume(stopped)
    checkpoint(stopped).write_bytes(to_bytes({"format": 99}))
    with pytest.raises(ValueError, match=r"latest\.pt: checkpoint format 99"):
        resume(stopped)
    checkpoint(stopped).unlink()
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        resume(stopped)


def test_random_state_comes_back() -> None:
    import random

    def draw() -> tuple[float, float, float]:
        return random.random(), float(np.random.normal()), float(torch.rand(()))  # noqa: NPY002

    draw()
    saved = random_state()
    first = [draw() for _ in range(3)]
    set_random_state(saved)
    assert [draw() for _ in range(3)] == first


def test_the_command_to_go_on_can_be_pasted(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(tmp_path, "it's $(id) λ", 3)
    given = ["train_agent.py", "--name", config.name, "--out", config.out, "--suite", config.suite]
    given += ["--wandb", "disabled", "--threads", "1", "--eval-every", "0", "--stop-after", "1"]
    given += ["--ppo.n-envs", "4", "--ppo.n-steps", "6", "--ppo.batch-size", "12", "--ppo.n-epochs", "1"]
    monkeypatch.setattr(sys, "argv", given)
    runpy.run_path(str(repository / "scripts" / "train_agent.py"), run_name="__main__")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("to go on: "))
    assert shlex.split(line.removeprefix("to go on: ")) == [
        "python", "scripts/train_agent.py", "--resume", str(config.folder),
    ]  # fmt: skip


def test_a_data_set_that_tasks_name_may_not_change_either(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "two", rollouts=2, eval_every=0)
    with Path(config.suite).open("a") as file:
        file.write("  - {data: 'synthetic:1'}\n")
    stopped = train(config, show_progress=False, stop_after=1)
    origin = load_checkpoint(checkpoint(stopped))["origin"]
    assert origin["data_name"] == "synthetic, synthetic:1"
    Path(config.suite).write_text(Path(config.suite).read_text().replace("synthetic:1", "synthetic:2"))
    with pytest.raises(ValueError, match="cannot resume on other data"):
        resume(stopped, show_progress=False)
