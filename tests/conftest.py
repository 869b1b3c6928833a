"""What all tests share: no network, no writes outside temporary folders, one thread, the archive of real images."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from places import ROOT

# Set before anything imports matplotlib, torch or wandb.
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["WANDB_MODE"] = "offline"
os.environ["WANDB_SILENT"] = "true"
os.environ["WANDB_ERROR_REPORTING"] = "false"

# The same examples each time: a failure is that of a change, and on a busy machine no example is too slow.
hypothesis.settings.register_profile("same", derandomize=True, deadline=None)
hypothesis.settings.load_profile("same")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Two workers on two cores: more threads would only make them wait for each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _session_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches go to a folder of the session, shared by its tests, so that no test sees or fills the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMBDA_RL_CACHE", str(tmp_path_factory.mktemp("cache")))
        for variable in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR", "WANDB_ARTIFACT_DIR"):
            patch.setenv(variable, str(tmp_path_factory.mktemp(variable.lower())))
        yield


@pytest.fixture(autouse=True)
def _wandb_stays_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may upload: offline, without the user's key, in the folder of the test."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    for variable in (
        "WANDB_API_KEY",
        "WANDB_IDENTITY_TOKEN_FILE",
        "WANDB_PROJECT",
        "WANDB_RUN_ID",
        "WANDB_BASE_URL",
    ):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def cifar_archive() -> Path:
    """An archive of CIFAR-10 as JPEG files in ImageFolder layout; the test is skipped where none is named."""
    named = os.environ.get("LAMBDA_RL_CIFAR_ARCHIVE")
    if not named:
        pytest.skip("no CIFAR-10 archive: set LAMBDA_RL_CIFAR_ARCHIVE to one")
    path = Path(named)
    if not path.exists():
        pytest.fail(f"LAMBDA_RL_CIFAR_ARCHIVE names {path}, which does not exist")
    return path


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """A wheel built from a copy of the checkout in an empty folder, without network and without touching it."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for folder in ("lambda_rl", "envs", "agents", "scripts", "tests"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    out = copy / "out"
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run(
        [*command, "--no-build-isolation", "--wheel-dir", str(out), str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))
