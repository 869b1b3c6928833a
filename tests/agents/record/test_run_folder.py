"""Run folders under faults: two processes, and files that are there already."""

from __future__ import annotations

import dataclasses
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import files, tiny_config

from lambda_rl.agents.ppo import run as training
from lambda_rl.agents.ppo.checkpoint import read_origin
from lambda_rl.agents.ppo.checkpoint_file import load_checkpoint
from lambda_rl.agents.ppo.config_file import load_config
from lambda_rl.agents.ppo.run import resume, train
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.files import atomic_path, atomic_write


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_one_process_at_a_time_trains_in_a_folder(stopped: Path) -> None:
    config = dataclasses.replace(load_config(stopped / "config.yaml"), out=str(stopped.parent))
    before = files(stopped)
    in_use = rf"run: another process \(number {os.getpid()}\) is training in this folder"
    with RunFolder(stopped).locked():
        with pytest.raises(ValueError, match=in_use):
            resume(stopped, show_progress=False)
        with pytest.raises(ValueError, match=in_use):
            train(config, overwrite=True, show_progress=False)
    assert files(stopped) == before
    resume(stopped, show_progress=False, stop_after=1)


def test_the_lock_of_a_killed_process_holds_nobody_up(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from lambda_rl.agents.record.run_folder import RunFolder\n"
        "with RunFolder(Path(sys.argv[1])).locked(): print('locked', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(ValueError, match=f"number {process.pid}"), RunFolder(tmp_path).locked():
            pass
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / ".lock").exists()
    with RunFolder(tmp_path).locked():
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
    assert not (tmp_path / ".lock").exists()


def test_a_run_that_began_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny_config(tmp_path, "run", 1)
    real = training._build

    def slow(*arguments: Any) -> Any:
        built = real(*arguments)
        atomic_write(config.folder / "config.yaml", "another's")
        return built

    monkeypatch.setattr(training, "_build", slow)
    with pytest.raises(ValueError, match="there is a run in this folder"):
        train(config, show_progress=False)
    assert files(config.folder) == {"config.yaml": b"another's"}


def test_resuming_beside_a_running_process_leaves_its_half_written_checkpoint(stopped: Path) -> None:
    folder = RunFolder(stopped)
    with folder.locked(), atomic_path(folder.latest) as temporary:
        temporary.write_bytes(b"half")
        with pytest.raises(ValueError, match="another process"):
            resume(stopped, show_progress=False)
        assert temporary.read_bytes() == b"half"
        temporary.write_bytes(folder.latest.read_bytes())


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(file: Any) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("lambda_rl.agents.record.run_folder._lock_file", none)
    with pytest.warns(RuntimeWarning, match="this file system has no locks"), RunFolder(tmp_path).locked():
        pass


@pytest.mark.parametrize("name", ["config", "latest", "previous", "policy", "metrics"])
def test_files_of_an_unknown_run_are_not_deleted(tmp_path: Path, name: str) -> None:
    config = tiny_config(tmp_path, "it's mine", 1)
    atomic_write(getattr(RunFolder(config.folder), name), "precious")
    before = files(config.folder)
    with pytest.raises(ValueError, match=r"there is a run in this folder; .*--overwrite") as told:
        train(config, show_progress=False)
    assert f"--resume {shlex.quote(str(config.folder))}" in str(told.value)
    assert files(config.folder) == before


def test_overwriting_leaves_other_files_alone(stopped: Path) -> None:
    (stopped / "notes.txt").write_text("mine")
    config = dataclasses.replace(load_config(stopped / "config.yaml"), out=str(stopped.parent), seed=1)
    train(config, overwrite=True, show_progress=False, stop_after=1)
    assert (stopped / "notes.txt").read_text() == "mine"
    assert not (stopped / "policy.safetensors").exists()
    assert read_origin(load_checkpoint(RunFolder(stopped).previous), stopped).config.seed == 1


def test_a_record_of_commands_that_is_no_text_does_not_stop_a_resume(stopped: Path) -> None:
    (stopped / "command.txt").write_bytes(b"\xff\xff\n")
    resume(stopped, command="again", show_progress=False)
    assert (stopped / "command.txt").read_bytes() == b"\xff\xff\nagain\n"


def test_a_resumed_run_leaves_no_temporary_files(stopped: Path, dead: int) -> None:
    for file in (
        "metrics.csv",
        "policy.safetensors",
        "config.yaml",
        "command.txt",
        "checkpoints/previous.pt",
    ):
        path = stopped / file
        path.with_name(f".{path.stem}.{dead}.0123abcd{path.suffix}").write_bytes(b"half")
    resume(stopped, show_progress=False, stop_after=1)
    assert not [path for path in stopped.rglob(".*") if path.is_file()]
