"""A function that is compiled at its first call for each shape, and runs as it is where there is no compiler."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Any

import torch

_LIMIT = 64  # shapes of a function; torch's own limit is 8


class Compiled:
    """A function of tensors, compiled for each N when it is first called with it.

    Sizes are compiled in: with symbolic ones the products of stacked matrices took ten times as long. Everything that
    changes from call to call must be a tensor. Where compiling fails (no C++ compiler), one warning says so.

    Args:
        function: its first argument is a dict of tensors ``[N, …]``.
        what: to name it by in the warning.
        on_cpu: where it runs.
    """

    def __init__(self, function: Callable[..., Any], what: str, *, on_cpu: bool) -> None:
        # On a CPU one thread: whole stacks are spread over cores. The C++ wrapper lets go of Python's lock.
        options: dict[str, Any] = {"cpp_wrapper": True, "cpp.threads": 1} if on_cpu else {}
        self._plain, self._what = function, what
        self._compiled = torch.compile(function, dynamic=False, fullgraph=True, options=options)
        self._ready: set[int] = set()
        self._failed = False
        self._lock = threading.Lock()

    def __call__(self, params: dict[str, torch.Tensor], *more: object) -> Any:
        """Calls the function."""
        count = len(next(iter(params.values())))
        if count not in self._ready and not self._failed:
            with self._lock, torch._dynamo.config.patch(recompile_limit=_LIMIT):
                try:
                    result = self._compiled(params, *more)
                    self._ready.add(count)
                    return result
                except Exception as error:  # compilers fail in many ways, all before anything is computed
                    self._failed = True
                    reason = " ".join(str(error).split())[:200]
                    warnings.warn(f"{self._what} is not compiled: {reason}", RuntimeWarning, stacklevel=2)
        return (self._plain if self._failed else self._compiled)(params, *more)
