"""Which packages a room may import, and a wheel of the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from places import ROOT

# Third-party packages that a room may import at all (beside the standard library).
BASE = {"torch", "numpy", "safetensors"}
ENVS = BASE | {"gymnasium", "torchvision", "matplotlib", "PIL", "platformdirs", "pydantic", "yaml"}
AGENTS = ENVS | {"stable_baselines3", "wandb", "pandas", "scipy", "rich", "tyro", "jinja2"}


def build_wheel(copy: Path) -> zipfile.ZipFile:
    """A wheel built from a copy of the checkout in an empty folder, without network and without touching it."""
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
