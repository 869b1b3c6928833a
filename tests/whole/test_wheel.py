"""From the wheel, in an empty folder and without the checkout: the commands run; and the sdist makes the same wheel."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="runs bin/lambda-rl"),
    pytest.mark.timeout(600),  # many processes, each of which loads torch
]


@pytest.fixture(scope="module")
def command(wheel: zipfile.ZipFile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``lambda-rl`` in a new environment that has the wheel, and beside it the packages of this environment."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(home), "platbase": str(home)}))
    here = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    # Of folders that are named so, no .pth file is read: an editable install of the checkout is not seen.
    (site / "packages.pth").write_text("".join(f"{path}\n" for path in sorted(here)), encoding="utf-8")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(home / "bin" / "python"),
        "--disable-pip-version-check",
    ]
    done = subprocess.run(
        [*pip, "install", "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel.filename)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return home / "bin" / "lambda-rl"


def said(program: Path, folder: Path, *arguments: str) -> str:
    """What a command prints that goes well in a folder, with nothing of the checkout around it."""
    around = {
        "PATH": os.defpath, "HOME": str(folder), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8",
        "LAMBDA_RL_CACHE": os.environ["LAMBDA_RL_CACHE"], "WANDB_MODE": "offline", "COLUMNS": "100",
    }  # fmt: skip
    done = subprocess.run(
        [str(program), *arguments],
        cwd=folder, env=around, capture_output=True, text=True, encoding="utf-8", check=False, timeout=500,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def trained(command: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder in which an agent was trained: the preset that needs no data, one rollout of it."""
    folder = tmp_path_factory.mktemp("empty")
    where = said(command.with_name("python"), folder, "-c", "import lambda_rl; print(lambda_rl.__file__)")
    assert Path(where.strip()).is_relative_to(command.parents[1])
    said(
        command, folder, "train", "--preset", "quick", "--name", "mine", "--total-decisions", "480",
        "--eval-every", "0", "--wandb", "disabled",
    )  # fmt: skip
    return folder


POLICY = "runs/mine/policy.safetensors"


def test_a_policy_is_trained_and_told_of(command: Path, trained: Path) -> None:
    assert "fingerprint" in said(command, trained, "info", POLICY)
    assert "any-loop" in said(command, trained, "list")


def test_it_is_compared(command: Path, trained: Path) -> None:
    table = said(
        command, trained, "compare", "--policy", POLICY, "--suite", "quick-held-out", "--seeds", "1", "--tune", "none",
        "--families", "--constants", "0.01", "--out", "compared",
    )  # fmt: skip
    assert "learned" in table
    assert (trained / "compared" / "report.html").is_file()


def test_a_network_is_trained_with_it(command: Path, trained: Path) -> None:
    network = said(command, trained, "run", "--schedule", f"learned:{POLICY}", "--steps", "30")
    assert "test accuracy" in network


def test_the_environment_is_made_from_the_wheel(command: Path, tmp_path: Path) -> None:
    """By the package's name before the id; and by the id alone once the package is imported.

    Gymnasium 1.0 took away the entry points by which an id was known without either.
    """
    code = (
        "import gymnasium as gym\n"
        "gym.make('lambda_rl.envs:LambdaRL/CifarLambda-v0').close()\n"
        "import lambda_rl.envs\n"
        "gym.register_envs(lambda_rl.envs)\n"
        "print(gym.make('LambdaRL/CifarLambda-v0').reset(seed=0)[0].shape)\n"
    )
    assert said(command.with_name("python"), tmp_path, "-c", code).startswith("(")


def test_the_sdist_makes_the_same_wheel(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    tree = Path(str(wheel.filename)).parents[1]  # what the wheel was built from
    build = (
        "import sys\nfrom setuptools import build_meta\n"
        "print(getattr(build_meta, f'build_{sys.argv[1]}')(sys.argv[2]))"
    )

    def built(what: str, at: Path) -> Path:
        done = subprocess.run(
            [sys.executable, "-c", build, what, str(tmp_path)],
            cwd=at, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return tmp_path / done.stdout.splitlines()[-1]

    with tarfile.open(built("sdist", tree)) as archive:
        archive.extractall(tmp_path / "sdist", filter="data")
    (unpacked,) = (tmp_path / "sdist").iterdir()
    again = zipfile.ZipFile(built("wheel", unpacked))
    assert set(again.namelist()) == set(wheel.namelist())
    same = [name for name in again.namelist() if ".dist-info/" not in name]
    assert all(again.read(name) == wheel.read(name) for name in same)
