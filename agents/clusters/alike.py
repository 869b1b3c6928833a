"""What has to be the same in every process, or the same seed would not give the same numbers."""

from __future__ import annotations

import functools
import hashlib
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import torch

T = TypeVar("T")

_FLOORS = ("lambda_rl", "lambda_rl.envs", "lambda_rl.agents")


@functools.cache
def installed() -> str:
    """Digest of this package's code, as it lies here, and of the releases of what computes."""
    total = hashlib.sha256(f"{torch.__version__} {np.__version__}".encode())
    for floor in _FLOORS:  # of a checkout, where the upper ones do not lie in the lowest
        root = Path(importlib.import_module(floor).__path__[0])
        for path in sorted(root.rglob("*.py")):
            total.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return total.hexdigest()


@dataclass(frozen=True)
class Alike(Generic[T]):
    """Makes something in another process, if that one is like this.

    Attributes:
        make: makes it.
        here: what is installed here.
    """

    make: Callable[..., T]
    here: str

    def __call__(self, *arguments: Any) -> T:
        """Makes it, where torch computes with one thread, as in a command of ours.

        Raises:
            ValueError: the process has other code, or another release of torch.
        """
        if installed() != self.here:
            raise ValueError(
                "a worker has another version of lambda_rl, torch or numpy than this process; "
                "install the same on all machines"
            )
        torch.set_num_threads(1)
        return self.make(*arguments)


def alike(make: Callable[..., T]) -> Alike[T]:
    """The same, for processes like this one."""
    return Alike(make, installed())
