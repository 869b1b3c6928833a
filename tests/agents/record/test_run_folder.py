"""Run folders under faults: two processes, kills, damaged files, a full disk, what they tell of this machine."""

from __future__ import annotations

import copy
import dataclasses
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import metrics, same_policy, tiny_config

from lambda_rl.agents.ppo import run as training
from lambda_rl.agents.ppo.checkpoint import read_origin, read_progress, restore
from lambda_rl.agents.ppo.checkpoint_file import load_checkpoint, load_newest, to_bytes
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.config_file import load_config
from lambda_rl.agents.ppo.export import export_policy
from lambda_rl.agents.ppo.run import resume, train
from lambda_rl.agents.presenting import script as cli
from lambda_rl.agents.record.metrics import MetricsCsv, read_rows
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.files import atomic_path, atomic_write, sweep
from lambda_rl.policy.file import load_policy

ROLLOUTS = 3


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    return train(tiny_config(tmp_path_factory.mktemp("whole"), "run", ROLLOUTS), show_progress=False)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, ended after 2 rollouts."""
    config = tiny_config(tmp_path_factory.mktemp("half"), "run", ROLLOUTS)
    return train(config, show_progress=False, stop_after=2)


@pytest.fixture
def stopped(half: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(half, tmp_path / "runs" / "run"))


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Two processes


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


# What is there already


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


@pytest.mark.parametrize("moment", ["_learn", "save_checkpoint"])
def test_a_run_killed_before_its_first_checkpoint_starts_again(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    class KilledError(BaseException):
        pass

    def killed(*arguments: Any) -> None:
        raise KilledError

    config = tiny_config(tmp_path, "run", ROLLOUTS)
    module = "train" if moment == "_learn" else "training_run"
    with monkeypatch.context() as patch:
        patch.setattr(f"lambda_rl.agents.{module}.{moment}", killed)
        with pytest.raises(KilledError):
            train(config, command="python scripts/train_agent.py --first", show_progress=False)
    assert not RunFolder(config.folder).latest.exists()
    resume(config.folder, command="python scripts/train_agent.py --resume", show_progress=False)
    assert same_policy(whole, config.folder)
    assert metrics(whole) == metrics(config.folder)
    card = load_policy(config.folder / "policy.safetensors").card
    assert card.command == "python scripts/train_agent.py --first"


# Checkpoints


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


# Other files


def test_a_damaged_learning_curve_does_not_stop_a_resume(whole: Path, stopped: Path) -> None:
    path = stopped / "metrics.csv"
    header, first, second = path.read_text().splitlines()
    path.write_text(f"{header}\n{first}\n{second[:1]}")  # cut within its first number
    with pytest.warns(RuntimeWarning, match=r"metrics\.csv: 1 damaged rows are dropped"):
        resume(stopped, show_progress=False)
    assert same_policy(whole, stopped)
    assert [row["decisions"] for row in metrics(stopped)] == ["24", "72"]


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("decisions,a\n10,1\n20,\n30,3\n", [10, 20, 30]),
        ("decisions,a\r\n10,1\r\n20,2\r\n", [10, 20]),
        ("decisions,a\n\n10,1\n", [10]),
        ("", []),
        ("10,1\n20,2\n", []),
        ("decisions;a\n10;1\n", []),
        ("decisions,a\n10,1\n20.0,2\n30,3\n", [10, 30]),
        ("decisions,a\n10,1\n20\n30,3\n", [10, 30]),
        ("decisions,a\n10,1\n20,2,3\n", [10]),
        ("decisions,a\n10,1\n20,\0\n", [10]),
        ("decisions,a\n10,1\n20,zwei\n", [10]),
        ("decisions,a\n10,1\n10,1\n-5,1\n20,2\n", [10, 20]),
        ("decisions,a\n10,1\n" + "9" * 5000 + ",1\n20,1\n", [10, 20]),
        (b"decisions,a\n10,1\n\xff\xfe\n20,1\n", [10, 20]),
    ],
)
def test_of_a_damaged_learning_curve_the_whole_rows_are_kept(
    tmp_path: Path, content: str | bytes, kept: list[int]
) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if sys.version_info < (3, 11) and b"\0" in path.read_bytes():
        kept = []  # there, csv refuses the whole file
    rows, damaged = read_rows(path, keep_until=30)
    assert [int(row["decisions"]) for row in rows] == kept
    lines = [line for line in path.read_bytes().splitlines() if line]
    assert bool(damaged) == (len(lines) != len(kept) + 1)
    assert [int(row["decisions"]) for row in read_rows(path, keep_until=10)[0]] == kept[:1]
    if damaged:
        with pytest.warns(RuntimeWarning, match=r"metrics\.csv: "):
            MetricsCsv(path, keep_until=30)


@pytest.mark.parametrize(
    "line",
    [
        b"suite: " + b"[" * 3000 + b"]" * 3000,
        b"seed: " + b"9" * 5000,
        b"ppo: {learning_rate: " + b"9" * 400 + b"}",
        b"suite: \xff",
        b"name: 2020-99-99",
        b"ppo: {n_envs: [",
        b"ppo: &p {hidden: [*p]}",
        b"ppo: {? [1, 2] : 3}",
        b"- 1",
    ],
)
def test_a_damaged_configuration_is_one_error_that_names_the_file(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(line + b"\n")
    with pytest.raises(ValueError, match=r"config\.yaml: ") as told:
        load_config(tmp_path / "config.yaml")
    assert len(str(told.value)) < 500


def test_a_record_of_commands_that_is_no_text_does_not_stop_a_resume(stopped: Path) -> None:
    (stopped / "command.txt").write_bytes(b"\xff\xff\n")
    resume(stopped, command="again", show_progress=False)
    assert (stopped / "command.txt").read_bytes() == b"\xff\xff\nagain\n"


# Writing


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "latest.pt"
    atomic_write(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # as good as a disk with 100 bytes left
    try:
        with pytest.raises(OSError, match=r"latest\.pt'$") as told:
            atomic_write(path, b"new" * 1000, fsync=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told.value.filename == str(path)
    assert files(tmp_path) == {"latest.pt": b"old"}


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
        cli.run_script(main)
    latest = RunFolder(stopped).latest
    assert capsys.readouterr().err == f"error: [Errno 28] No space left on device: '{latest}'\n"
    assert load_checkpoint(latest)["model"]["num_timesteps"] == 48


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), atomic_path(tmp_path / "new"):
        (tmp_path / "other").read_bytes()


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


def test_temporary_files_of_dead_processes_are_swept(tmp_path: Path, dead: int) -> None:
    ours = [
        f".data.{dead}.0123abcd.bin",
        f".data.{os.getpid()}.0123abcd.bin",
        ".data.99999999999.0123abcd.bin",
    ]
    others = [
        f".data.{os.getppid()}.0123abcd.bin", f".other.{dead}.0123abcd.bin", f".data.{dead}.0123abcd.txt",
        f".data.{dead}.bin", f"data.{dead}.0123abcd.bin", "data.bin",
    ]  # fmt: skip
    for name in ours + others:
        (tmp_path / name).write_bytes(b"")
    sweep(tmp_path / "data.bin")
    assert sorted(files(tmp_path)) == sorted(others)
    sweep(tmp_path / "nowhere" / "data.bin")


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


# What is passed on


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("/home/alice/clinic/patients.tar", "patients.tar"),
        ("~/clinic/patients", "patients"),
        ("~alice/patients/", "patients"),
        ("../../alice/patients", "patients"),
        ("C:\\Users\\alice\\patients", "patients"),
        ("folder:/home/alice/clinic/patients", "folder:patients"),
        ("folder:C:\\Users\\alice\\patients", "folder:patients"),
        ("--data=folder:/home/alice/x y/patients/", "--data=folder:patients"),
        (
            "learned:/home/alice/p.safetensors,lam_meaning=convert",
            "learned:p.safetensors,lam_meaning=convert",
        ),
        ("constant:1 learned:/home/alice/p.safetensors", "constant:1 learned:p.safetensors"),
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
    assert cli.without_places(given) == told


def test_the_recorded_command_has_no_paths_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    given = [
        "/home/alice/lambda/scripts/train_agent.py",
        "--data",
        "folder:/home/alice/my images",
        "--out",
        "runs",
    ]
    monkeypatch.setattr(sys, "argv", given)
    assert cli.command_line() == "python scripts/train_agent.py --data 'folder:my images' --out runs"


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


@pytest.mark.parametrize("name", ["new\nline", "esc\033[31m", "bell\a", "right\u202eleft"])
def test_names_that_a_terminal_would_obey_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name must be printable") as told:
        TrainConfig(name=name)
    assert str(told.value).isprintable()


def test_the_command_to_go_on_can_be_pasted(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tiny_config(tmp_path, "it's $(id) λ", ROLLOUTS)
    given = ["train_agent.py", "--name", config.name, "--out", config.out, "--suite", config.suite]
    given += ["--wandb", "disabled", "--threads", "1", "--eval-every", "0", "--stop-after", "1"]
    given += ["--ppo.n-envs", "4", "--ppo.n-steps", "6", "--ppo.batch-size", "12", "--ppo.n-epochs", "1"]
    monkeypatch.setattr(sys, "argv", given)
    runpy.run_path(str(repository / "scripts" / "train_agent.py"), run_name="__main__")
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("to go on: "))
    assert shlex.split(line.removeprefix("to go on: ")) == [
        "python", "scripts/train_agent.py", "--resume", str(config.folder),
    ]  # fmt: skip
