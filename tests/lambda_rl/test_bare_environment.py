"""A new environment with torch, numpy, safetensors and what these need: the wheel is enough to deploy there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from places import AGENTS, BASE, INTEGRATIONS, blocks, modules
from tiny_schedules import make_policy

from lambda_rl import save_policy

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links packages into an environment")

# Modules that must not be there. The tests' own environment has most of them, so a leak would show.
# Not jinja2: torch itself brings it.
ABSENT = sorted(
    (AGENTS - BASE - {"jinja2"})
    | {"lightning", "pytorch_lightning", "transformers", "accelerate", "timm", "hypothesis", "pytest", "pip"}
)


def closure(names: set[str]) -> dict[str, metadata.Distribution]:
    """The installed distributions that ``names`` need, themselves included, by canonical name."""
    found: dict[str, metadata.Distribution] = {}
    done: set[tuple[str, str]] = set()
    todo = [(canonicalize_name(name), "") for name in sorted(names)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in done:
            continue
        done.add((name, extra))
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for requirement in map(Requirement, found[name].requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                todo += [(canonicalize_name(requirement.name), extra) for extra in ("", *requirement.extras)]
    return found


@pytest.fixture(scope="module")
def bare(
    wheel: zipfile.ZipFile,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, set[str]]:
    """A new environment's Python, and the distributions that were linked into it beside the wheel's."""
    folder = tmp_path_factory.mktemp("bare")
    home = folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    site = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(home), "platbase": str(home)}))
    distributions = closure(BASE)
    for name, distribution in distributions.items():
        if distribution.files is None:
            pytest.skip(f"{name} does not say which files it has")
        for top in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (site / top).exists():  # a folder may be shared, as nvidia/ is
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    installed = folder / "installed"
    done = subprocess.run(
        [*command, "--no-deps", "--no-compile", "--target", str(installed), str(wheel.filename)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (site / "wheel.pth").write_text(f"{installed}\n", encoding="utf-8")
    return home / "bin" / "python", set(distributions)


def run_in(python: Path, folder: Path, *arguments: str) -> str:
    """What a command prints in the new environment, with nothing of this one around it."""
    around = {"PATH": os.defpath, "HOME": str(folder), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [str(python), "-s", *arguments],
        cwd=folder, env=around, capture_output=True, text=True, encoding="utf-8", check=False, timeout=150,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


REPORT = f"""
import importlib.util, json, sys
from importlib import metadata
found = [name for name in {ABSENT!r} if importlib.util.find_spec(name) is not None]
names = sorted({{distribution.metadata["Name"] for distribution in metadata.distributions()}})
loaded = sorted({{name.partition(".")[0] for name in sys.modules}})
lams = [row["lam"] for row in schedule.history]
decays = [group["weight_decay"] for group in optimizer.param_groups]
print(json.dumps([found, names, loaded, lams, decays, lambda_rl.__file__]))
"""


def test_the_readmes_loop_runs_and_lambda_changes(bare: tuple[Path, set[str]], tmp_path: Path) -> None:
    python, linked = bare
    (loop,) = (block for block in blocks("python") if "LearnedSchedule(" in block)
    save_policy(tmp_path / "runs" / "demo" / "policy.safetensors", make_policy())
    (tmp_path / "loop.py").write_text(f"{loop}\n{REPORT}", encoding="utf-8")
    said = run_in(python, tmp_path, "loop.py").splitlines()[-1]
    found, names, loaded, lams, decays, where = json.loads(said)
    assert not found
    assert {canonicalize_name(name) for name in names} == linked | {"lambda-rl"}
    assert not set(loaded) & set(ABSENT)
    assert Path(where).is_relative_to(python.parents[2] / "installed")  # and not the checkout
    assert len(lams) == 16
    assert len(set(lams)) > 1
    assert decays == [lams[-1], 0.0]


def test_every_deployed_module_imports(bare: tuple[Path, set[str]], tmp_path: Path) -> None:
    deployed = sorted(modules("lambda_rl").keys() - INTEGRATIONS)
    assert "lambda_rl.schedules.learned" in deployed
    code = f"""
import importlib
for name in {deployed!r}:
    importlib.import_module(name)
for name in ("lightning", "huggingface"):
    try:
        importlib.import_module(f"lambda_rl.integrations.{{name}}")
    except ImportError as error:
        print(error)
"""
    said = run_in(bare[0], tmp_path, "-c", code).splitlines()
    assert len(said) == 2
    for line, extra in zip(said, ("lightning", "huggingface"), strict=True):
        assert f"pip install 'lambda-rl[{extra}]'" in line


def test_the_command_works(bare: tuple[Path, set[str]], tmp_path: Path) -> None:
    from lambda_rl import load_policy, shipped_policies

    listed = run_in(bare[0], tmp_path, "-m", "lambda_rl.cli", "list")
    assert [line.split()[0] for line in listed.splitlines()] == shipped_policies()
    name = shipped_policies()[0]
    code = (
        "import sys\n"
        "from importlib.metadata import entry_points\n"
        "(command,) = entry_points(group='console_scripts', name='lambda-rl')\n"
        f"sys.argv = ['lambda-rl', 'info', {name!r}]\n"
        "sys.exit(command.load()())\n"
    )
    assert load_policy(name).fingerprint in run_in(bare[0], tmp_path, "-c", code)
