"""How many networks side by side are fastest on this machine: measured when asked for, and kept.

``scripts/benchmark.py --calibrate`` measures. Without it every machine takes the same sizes, since the last digits of a
result depend on them, and one that measured in silence would not give the same numbers twice.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import torch

from lambda_rl.envs.data.cache import cache_folder
from lambda_rl.envs.networks import Network
from lambda_rl.files import atomic_write

FILE = "stacks.json"


def stack_kind(network: Network, compute: torch.dtype, compiled: bool) -> str:
    """What a size is kept by."""
    dtype = str(compute).removeprefix("torch.")
    return f"{network.kind}, {dtype}{', compiled' if compiled else ''}"


def _machine() -> str:
    return f"{torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores, torch {torch.__version__}"


def _file() -> Path:
    return cache_folder() / FILE


def kept_sizes() -> dict[str, int]:
    """Sizes of stacks that were measured on this machine, by :func:`stack_kind`.

    Empty where there are none, where they are another machine's, or where the file cannot be read.
    """
    try:
        content = json.loads(_file().read_text(encoding="utf-8"))
        sizes = content["sizes"] if content["machine"] == _machine() else {}
        return {str(kind): size for kind, size in sizes.items() if isinstance(size, int) and size >= 1}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def keep_sizes(sizes: Mapping[str, int]) -> Path:
    """Adds sizes to those that are kept; the file that they are kept in."""
    content = {"machine": _machine(), "sizes": {**kept_sizes(), **sizes}}
    atomic_write(_file(), json.dumps(content, indent=1) + "\n")
    return _file()
