"""What a kept run depends on beside its task and its schedule's text: the code, and files that the text names."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch

import lambda_rl
import lambda_rl.envs
from lambda_rl.envs.hardware.device import resolve_device
from lambda_rl.envs.training.placement import TrainerConfig

_HOUSE = Path(lambda_rl.__file__).parent
_ENVS = Path(lambda_rl.envs.__file__).parent


def digest(*parts: str | bytes) -> str:
    """Hex digest of texts or bytes, each told apart from the next."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(f"{len(data)}:".encode() + data)
    return total.hexdigest()[:32]


@functools.cache
def code_fingerprint() -> str:
    """Digest of all source that an inner run and its schedules are made by, and of the policies that are shipped."""
    # envs/ and agents/ lie within lambda_rl/ where it is installed from a wheel.
    own = [p for p in _files(_HOUSE, "*.py", "*.safetensors") if p.relative_to(_HOUSE).parts[0] not in _ROOMS]
    return digest(
        *(path.read_bytes() for path in [*own, *_files(_ENVS, "*.py"), *_files(_BASELINES, "*.py")])
    )


_ROOMS = ("envs", "agents")
_BASELINES = Path(__file__).parent


def _files(folder: Path, *patterns: str) -> Iterable[Path]:
    return sorted(path for pattern in patterns for path in folder.rglob(pattern))


def trainer_fingerprint(config: TrainerConfig) -> str:
    """Digest of what computes inner runs: code, release of torch, kind of device, precision, compiled or not.

    Not of the number of threads, nor of how many networks are trained side by side: neither is to change a result.
    """
    device = resolve_device(config.device).type
    return digest(
        code_fingerprint(), str(torch.__version__), device, config.precision, str(bool(config.compile))
    )


def file_fingerprint(spec: str) -> str:
    """Digest of the file that a schedule's text names behind its colon; empty if it names none."""
    words = spec.partition(":")[2].split(",")
    for count in range(len(words), 0, -1):  # a path may hold commas, and options may follow it
        path = Path(",".join(words[:count]).strip()).expanduser()
        if path.is_file():
            return digest(path.read_bytes())
    return ""
