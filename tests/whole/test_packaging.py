"""The house: what a wheel holds, what a bare import pulls in, and that imports between rooms go one way."""

from __future__ import annotations

import ast
import importlib
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packages import AGENTS, BASE, ENVS
from places import ROOT

ROOMS = {
    "lambda_rl": ROOT / "lambda_rl",
    "lambda_rl.envs": ROOT / "envs",
    "lambda_rl.agents": ROOT / "agents",
}

# A framework is allowed inside its own integration module only: lambda_rl/integrations/<framework>.py.
INTEGRATIONS = {"lightning": {"lightning", "pytorch_lightning"}, "huggingface": {"transformers"}}


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "__pycache__" not in path.parts)


def imported(path: Path, package: str) -> set[str]:
    """Full names of all modules that a file imports, anywhere in it, with relative imports resolved."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - (node.level - 1)]
                base = ".".join([*parent, base] if base else parent)
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def third_party(names: set[str]) -> set[str]:
    roots = {name.split(".")[0] for name in names}
    return roots - set(sys.stdlib_module_names) - {"lambda_rl", "__future__"}


def room_files() -> list[tuple[str, Path]]:
    return [(room, path) for room, folder in ROOMS.items() for path in sources(folder)]


@pytest.mark.parametrize("room", ROOMS)
def test_mapped_names_resolve_to_the_folders_of_the_checkout(room: str) -> None:
    module = importlib.import_module(room)
    assert module.__file__ is not None
    assert Path(module.__file__).resolve().parent == ROOMS[room]
    assert module.__doc__


@pytest.mark.parametrize(("room", "path"), room_files(), ids=lambda value: getattr(value, "name", value))
def test_imports_go_one_way(room: str, path: Path) -> None:
    package = room if path.parent == ROOMS[room] else f"{room}.{path.parent.name}"
    names = imported(path, package)
    assert not {"envs", "agents", "scripts", "tests"} & {name.split(".")[0] for name in names}
    allowed = {"lambda_rl": BASE, "lambda_rl.envs": ENVS, "lambda_rl.agents": AGENTS}[room]
    if room == "lambda_rl" and path.parent.name == "integrations":
        allowed = allowed | INTEGRATIONS.get(path.stem, set())
    assert third_party(names) <= allowed, f"{path.name} may not import {third_party(names) - allowed}"
    above = {"lambda_rl": ("envs", "agents"), "lambda_rl.envs": ("agents",), "lambda_rl.agents": ()}[room]
    for other in above:
        upward = {name for name in names if re.match(rf"lambda_rl\.{other}(\.|$)", name)}
        assert not upward, f"{path.name} imports upward: {sorted(upward)}"


def test_scripts_are_thin_and_import_by_the_mapped_names() -> None:
    for path in sources(ROOT / "scripts"):
        names = imported(path, "scripts")
        assert not {"envs", "agents", "scripts", "tests"} & {name.split(".")[0] for name in names}, path.name
        assert third_party(names) <= AGENTS, path.name


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
    modules = [f"lambda_rl.{path.stem}" for path in (ROOT / "lambda_rl").glob("[!_]*.py")]
    blocked = sorted(AGENTS - BASE)
    code = (
        "import importlib, sys\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        f"for name in ['lambda_rl', *{modules!r}]: importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_every_module_under_its_mapped_name(wheel: zipfile.ZipFile) -> None:
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    expected = {
        (Path(*room.split(".")) / path.relative_to(ROOMS[room])).as_posix()
        for room in ROOMS
        for path in ROOMS[room].rglob("*")
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
        "bench",
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
