"""Where numbers come from: command, commit, time, hardware, versions."""

from __future__ import annotations

import platform
import re
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from lambda_rl.agents.ppo.config import available_cores
from lambda_rl.agents.ppo.export import code_commit
from lambda_rl.agents.presenting.script import command_line
from lambda_rl.envs.hardware.device import resolve_device

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
