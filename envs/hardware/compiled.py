"""A function that is compiled at its first call for each N, and runs as it is where there is no compiler."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

Function = Callable[..., Any]


class Compiled:
    """A function of tensors, compiled for each N when it is first called with it; threads may call it at once.

    Sizes are compiled in: with symbolic ones the products of stacked matrices took ten times as long. Everything that
    changes from call to call must be a tensor. Where compiling fails (no C++ compiler), one warning says so, and the
    function runs as it is from then on. An error of the computation itself is raised: the function may have changed
    its arguments by then, so it is not called again.

    Args:
        function: its first argument is a dict of tensors ``[N, …]``, the others are tensors and dicts of them.
        what: to name it by in the warning.
        on_cpu: where it runs.
    """

    def __init__(self, function: Function, what: str, *, on_cpu: bool) -> None:
        # On a CPU one thread: whole stacks are spread over cores. The C++ wrapper lets go of Python's lock.
        self._options: dict[str, Any] = {"cpp_wrapper": True, "cpp.threads": 1} if on_cpu else {}
        self._plain, self._what = function, what
        self._ready: dict[int, Function] = {}
        self._failed = False
        self._lock = threading.Lock()

    def __call__(self, params: dict[str, torch.Tensor], *more: object) -> Any:
        """Calls the function."""
        count = len(next(iter(params.values())))
        if count not in self._ready:
            with self._lock:  # other threads wait, lest they compile the same
                if count not in self._ready:
                    self._ready[count] = self._compile((params, *more))
        if not self._failed:
            try:
                return self._ready[count](params, *more)
            except _compile_errors() as error:  # raised before anything is computed
                self._give_up(error)
        return self._plain(params, *more)

    def _compile(self, arguments: tuple[object, ...]) -> Function:
        """The function compiled for such arguments; as it is where that fails."""
        function = self._plain
        if self._failed:  # for another N
            return function

        def call(*given: object) -> Any:
            return function(*given)

        # Torch keeps what it compiled by code object. With one for each function and N there is a single entry to
        # find. Among more, a search may miss the right one while another thread reorders them; torch then compiled
        # the same again and again, until its limit.
        call.__code__ = call.__code__.replace()
        try:
            # Not with fullgraph=True: torch 2.14 then counts compiled frames in one number for all threads, and a call
            # that another one overtakes is told that nothing was compiled.
            compiled = torch.compile(call, dynamic=False, options=self._options)
            with _refusing_graph_breaks():
                compiled(*map(_copied, arguments))  # whatever fails in here, it has changed nothing
        except Exception as error:  # compilers fail in many ways
            self._give_up(error)
            return function
        return compiled

    def _give_up(self, error: Exception) -> None:
        if self._failed:  # another thread has said so
            return
        self._failed = True
        reason = " ".join(str(error).split())[:200]
        warnings.warn(f"{self._what} is not compiled: {reason}", RuntimeWarning, stacklevel=3)


def _copied(argument: object) -> object:
    """Tensors and dicts of them with memory of their own."""
    if isinstance(argument, dict):
        return {name: _copied(value) for name, value in argument.items()}
    return argument.clone() if isinstance(argument, torch.Tensor) else argument


def _refusing_graph_breaks() -> AbstractContextManager[object]:
    """What cannot be compiled as one is an error in here, with releases of torch that can say so by thread."""
    refusing = getattr(torch._dynamo, "error_on_graph_break", None)
    return nullcontext() if refusing is None else refusing(True)


def _compile_errors() -> tuple[type[Exception], ...]:
    """What torch raises at a call that it must compile for and cannot. Looked up late: the import takes a second."""
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    return TorchDynamoException, FailOnRecompileLimitHit
