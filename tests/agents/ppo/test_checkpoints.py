"""Checkpoints under faults: damage, a kill, a full disk, file systems without links."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import ROLLOUTS, files, flip, metrics, same_policy, tiny_config

from lambda_rl.agents.ppo import run as training
from lambda_rl.agents.ppo.checkpoint import read_origin, read_progress, restore
from lambda_rl.agents.ppo.checkpoint_file import load_checkpoint, load_newest, to_bytes
from lambda_rl.agents.ppo.config_file import load_config
from lambda_rl.agents.ppo.export import export_policy
from lambda_rl.agents.ppo.run import resume, train
from lambda_rl.agents.presenting.script import run_script
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.files import atomic_write
from lambda_rl.policy.file import load_policy


def test_every_flipped_bit_and_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "latest.pt"
    content = bytes(to_bytes({"format": 2, "numbers": torch.arange(50.0)}))
    path.write_bytes(content)
    assert torch.equal(load_checkpoint(path)["numbers"], torch.arange(50.0))
    for at in range(0, len(content), 7):
        path.write_bytes(content)
        flip(path, at)
        with pytest.raises(ValueError, match=r"latest\.pt: not a readable checkpoint"):
            load_checkpoint(path)
        path.write_bytes(content[:at])
        with pytest.raises(ValueError, match=r"latest\.pt: not a readable checkpoint"):
            load_checkpoint(path)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(whole: Path, stopped: Path) -> None:
    folder = RunFolder(stopped)
    flip(folder.latest, folder.latest.stat().st_size // 2)
    with pytest.warns(RuntimeWarning, match=r"latest\.pt: .*damaged.* the one before .*previous\.pt"):
        export_policy(stopped, stopped / "exported.safetensors")
    with pytest.warns(RuntimeWarning, match=r"latest\.pt: .*damaged.* the one before .*previous\.pt"):
        resume(stopped, show_progress=False)
    assert same_policy(whole, stopped)
    assert metrics(whole) == metrics(stopped)
    assert load_checkpoint(folder.latest)["model"]["num_timesteps"] == 72
    assert load_checkpoint(folder.previous)["model"]["num_timesteps"] == 48


def test_a_refused_resume_keeps_both_checkpoints(stopped: Path) -> None:
    folder = RunFolder(stopped)
    flip(folder.latest, 1000)
    before = files(stopped)
    other = dataclasses.replace(load_config(folder.config), data="synthetic:1")
    with pytest.warns(RuntimeWarning, match="damaged"), pytest.raises(ValueError, match="other data"):
        resume(stopped, other, show_progress=False)
    assert files(stopped) == before


def test_two_damaged_checkpoints_are_both_named(stopped: Path) -> None:
    folder = RunFolder(stopped)
    flip(folder.latest, 1000)
    folder.previous.write_bytes(folder.previous.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"latest\.pt: .*damaged.*previous\.pt: .*cut off"):
        resume(stopped, show_progress=False)
    folder.previous.unlink()
    with pytest.raises(ValueError, match=r"latest\.pt: .*damaged.*previous\.pt: no such checkpoint"):
        resume(stopped, show_progress=False)


def test_a_file_system_without_links_keeps_the_previous_checkpoint_too(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*paths: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", none)
    resume(stopped, show_progress=False)
    assert load_checkpoint(RunFolder(stopped).previous)["model"]["num_timesteps"] == 48


def entries(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all entries, three levels deep."""
    if isinstance(value, dict) and len(path) < 3:
        for key in value:
            yield (*path, key)
            yield from entries(value[key], (*path, key))


@pytest.mark.parametrize("damage", ["missing", None, "text", {}])
def test_an_entry_that_is_missing_or_of_another_kind_is_one_error_that_names_the_file(
    stopped: Path, damage: Any
) -> None:
    found = load_newest(RunFolder(stopped))
    assert found is not None
    good, path = found
    config = read_origin(good, path).config
    suite, data, _ = training._load(config)
    learner = training._build(config, suite, data)
    refused = 0
    for entry in entries(good):
        state = copy.deepcopy(good)
        holder = state
        for key in entry[:-1]:
            holder = holder[key]
        if damage == "missing":
            del holder[entry[-1]]
        else:
            holder[entry[-1]] = damage
        told = None
        try:
            read_origin(state, path)
            read_progress(state, path)
            restore(state, learner, path)
        except ValueError as error:
            told = str(error)
        if told is not None:
            assert told.startswith(f"{path}: not a whole checkpoint ("), entry
            assert "\n" not in told
            refused += 1
        assert told is not None or entry[-1] not in ("count", "num_timesteps", "n_updates"), entry
    learner.normalize.close()
    assert refused > 30


@pytest.mark.parametrize("moment", ["run._learn", "training_run.save_checkpoint"])
def test_a_run_killed_before_its_first_checkpoint_starts_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    class KilledError(BaseException):
        pass

    def killed(*arguments: Any) -> None:
        raise KilledError

    config = tiny_config(tmp_path, "run", ROLLOUTS)
    with monkeypatch.context() as patch:
        patch.setattr(f"lambda_rl.agents.ppo.{moment}", killed)
        with pytest.raises(KilledError):
            train(config, command="python scripts/train_agent.py --first", show_progress=False)
    assert not RunFolder(config.folder).latest.exists()
    resume(config.folder, command="python scripts/train_agent.py --resume", show_progress=False)
    assert same_policy(whole, config.folder)
    assert metrics(whole) == metrics(config.folder)
    card = load_policy(config.folder / "policy.safetensors").card
    assert card.command == "python scripts/train_agent.py --first"


def test_a_full_disk_while_a_checkpoint_is_written_is_told_in_one_line(
    stopped: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = Path.write_bytes

    def full(path: Path, content: Any) -> int:
        if path.suffix == ".pt":
            raise OSError(28, "No space left on device")
        return real(path, content)

    def main() -> None:
        resume(stopped, show_progress=False)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SystemExit, match="2"):
        run_script(main)
    latest = RunFolder(stopped).latest
    assert capsys.readouterr().err == f"error: [Errno 28] No space left on device: '{latest}'\n"
    assert load_checkpoint(latest)["model"]["num_timesteps"] == 48


def test_a_checkpoint_is_on_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda file: (done.append("sync"), sync(file))[1])
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("rename"), rename(*paths))[1])
    atomic_write(tmp_path / "latest.pt", b"new", fsync=True)
    assert done[:2] == ["sync", "rename"]
    train(tiny_config(tmp_path, "run", 1), show_progress=False)
    assert done.count("sync") >= 2 * 3  # configuration and two checkpoints, each with its folder
