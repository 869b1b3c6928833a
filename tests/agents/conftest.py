"""Small training runs that several tests look at, or damage a copy of."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_runs import ROLLOUTS, tiny_config

from lambda_rl.agents.ppo.run import train


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    return train(tiny_config(tmp_path_factory.mktemp("whole"), "run", ROLLOUTS), show_progress=False)


@pytest.fixture(scope="session")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, ended after 2 rollouts."""
    config = tiny_config(tmp_path_factory.mktemp("half"), "run", ROLLOUTS)
    return train(config, show_progress=False, stop_after=2)


@pytest.fixture
def stopped(half: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(half, tmp_path / "runs" / "run"))
