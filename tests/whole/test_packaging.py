"""The house: what a wheel holds, what a bare import pulls in, and what the tree does not name."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
import yaml
from places import AGENTS, BASE, FLOORS, INTEGRATIONS, ROOT, modules


@pytest.mark.parametrize("floor", FLOORS)
def test_mapped_names_resolve_to_the_folders_of_the_checkout(floor: str) -> None:
    module = importlib.import_module(floor)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve().parent == FLOORS[floor]
    assert module.__doc__


def test_a_bare_import_brings_only_what_deployment_needs() -> None:
    code = (
        "import sys, lambda_rl\n"
        "extra = ['gymnasium', 'stable_baselines3', 'wandb', 'torchvision', 'matplotlib', 'pandas', 'yaml', 'pydantic',"
        " 'tyro', 'rich', 'scipy', 'platformdirs', 'PIL', 'lightning', 'pytorch_lightning', 'transformers',"
        " 'accelerate', 'timm', 'lambda_rl.envs', 'lambda_rl.agents']\n"
        "sys.exit(', '.join(name for name in extra if name in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_base_install_works_without_the_extras(tmp_path: Path) -> None:
    """Every module of the deployed room imports where the packages of the extras do not exist."""
    names = sorted(modules("lambda_rl").keys() - INTEGRATIONS)
    assert "lambda_rl.schedules.learned" in names
    blocked = sorted(AGENTS - BASE)
    code = (
        "import importlib, sys\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_every_module_under_its_mapped_name(wheel: zipfile.ZipFile) -> None:
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {
        (Path(*floor.split(".")) / path.relative_to(folder)).as_posix()
        for floor, folder in FLOORS.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == expected
    assert "lambda_rl/py.typed" in inside


def test_the_wheel_names_the_dependencies_of_deployment_only(wheel: zipfile.ZipFile) -> None:
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = Parser().parsestr(wheel.read(name).decode())
    requirements = metadata.get_all("Requires-Dist") or []
    base = {re.split(r"[^A-Za-z0-9_-]", line)[0] for line in requirements if "extra ==" not in line}
    assert base == BASE
    assert metadata["Requires-Python"] == ">=3.10"
    assert set(metadata.get_all("Provides-Extra") or []) == {
        "train",
        "lightning",
        "huggingface",
        "search",
        "rivals",
        "ray",
        "bench",
        "docs",
        "dev",
    }
    import lambda_rl

    assert metadata["Version"] == lambda_rl.__version__


def tracked_texts() -> list[Path]:
    """Files of the repository (tracked or about to be); empty outside a git checkout."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        return []
    done = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_the_tree_names_no_path_of_a_machine_and_no_index_host() -> None:
    paths = tracked_texts()
    if not paths:
        pytest.skip("not a git checkout")
    # Put together here, so that this file does not hold what it looks for.
    hosts = (
        "py" + "pi.org",
        "python" + "hosted.org",
        "download." + "pytorch.org",
        "index-" + "url",
        "--index" + "=",
    )
    machine = re.compile(
        r"(?<![\w.])/(" + "|".join(("ro" + "ot", "wo" + "rk", "ho" + "me", "Us" + "ers")) + r")/\w"
    )
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            where = f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
            assert not any(host in line for host in hosts), where
            assert not machine.search(line), where


def test_constraints_are_pins_without_addresses_that_allow_every_supported_python() -> None:
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {(r := Requirement(line)).name.lower(): r for line in lines if line and not line.startswith("#")}
    assert all(pin.url is None for pin in pins.values())
    # torch fits the machine: a range, and the release that must not be taken is left out.
    assert not pins["torch"].specifier.contains("2.13.0")
    assert pins["torch"].specifier.contains("2.12.0")
    needs_newer = {"numpy", "scipy", "pandas", "matplotlib"}
    for name in needs_newer:
        marker = pins[name].marker
        assert marker is not None
        assert not marker.evaluate({"python_version": "3.10"}), name
        assert marker.evaluate({"python_version": "3.11"}), name


def test_what_is_to_be_cited_is_this_version() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    import lambda_rl

    assert (cited["version"], cited["license"]) == (lambda_rl.__version__, "MIT")
