"""Where numbers come from: command, commit, time, hardware, versions."""

from __future__ import annotations

import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from lambda_rl.envs.hardware.device import available_cores, resolve_device

PACKAGES = ("lambda-rl", "torch", "numpy", "gymnasium", "stable-baselines3", "scipy", "pandas", "matplotlib")


def provenance(device: str) -> dict[str, Any]:
    """When, with what and where: command, commit, time, device, versions."""
    resolved = resolve_device(device)
    if resolved.type == "cuda":
        hardware = torch.cuda.get_device_name(resolved)
    else:
        hardware = f"{available_cores()} CPU cores ({processor()})"
    versions: dict[str, str] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "command": command_line(),
        "commit": code_commit(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "device": str(resolved),
        "hardware": hardware,
        "versions": versions,
    }


def processor() -> str:
    """The model name of the processor, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        match = re.search(r"model name\s*:\s*(.+)", info.read_text(encoding="utf-8", errors="replace"))
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def code_commit() -> str:
    """The git commit of this code, plus ``-dirty`` if tracked files changed; ``unknown`` outside its repository."""
    here = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=here.parent, capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    try:
        # Installed into an environment that lies in somebody else's repository, this file is not tracked there.
        git("ls-files", "--error-unmatch", here.name)
        commit = git("rev-parse", "HEAD")
        return commit + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def program() -> list[str]:
    """What was called: a command of ``lambda-rl``, also as ``python -m lambda_rl``, a room's own, or a script's."""
    script, *arguments = sys.argv
    path = Path(script)
    if path.stem == "lambda-rl" or path.parts[-2:] == ("lambda_rl", "__main__.py"):
        return ["lambda-rl", *arguments[:1]]
    if path.name == "__main__.py" and path.parts[-3:-2] == ("agents",):
        return ["python", "-m", f"lambda_rl.agents.{path.parent.name}"]
    return ["python", f"scripts/{path.name}"]


def command_line() -> str:
    """The command that started this process, for the record: without the places of this machine."""
    begin = program()
    rest = sys.argv[len(begin) if begin[0] == "lambda-rl" else 1 :]
    return shlex.join([*begin, *map(without_places, rest)])


_PLACE = re.compile(
    r"""(^|[=:,;\s"'(\[{])          # what it may stand behind, as in --data=folder:/PATH
        (?:~[^/\\]*|[A-Za-z]:|\.\.)? # a home folder, a drive, or a way out of the working folder
        [/\\](?:.*[/\\])?           # the folders
        (?=.)                       # its last part""",
    re.VERBOSE | re.DOTALL,
)


def without_places(text: str) -> str:
    """Text as it may be passed on: of a path that tells where things lie on this machine, the last part alone.

    These are absolute paths, and those that begin with ``~`` or ``..``, also behind an option or a kind, as in
    ``--data=folder:/DISK/images``, which becomes ``--data=folder:images``. Other paths stay as they are.

    Args:
        text: one argument of a command line, or one option's value.
    """
    return _PLACE.sub(r"\1", text.rstrip("/\\") or text)


def told_options(options: Any) -> Any:
    """Options as a tracker may show them: dicts, lists and plain values, without the places of this machine."""
    if isinstance(options, Mapping):
        return {str(name): told_options(value) for name, value in options.items()}
    if isinstance(options, (list, tuple)):
        return [told_options(value) for value in options]
    return without_places(str(options)) if isinstance(options, (str, Path)) else options
