"""Counts the steps that an optimizer really makes."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer


class StepCounter:
    """Counts optimizer steps, not calls or minibatches, so gradient accumulation is right.

    Steps that a ``GradScaler`` skips do not count. It does not call most optimizers then; a fused one it calls, and
    leaves the skipping to its kernel: what was skipped is added up on the device, and read when :attr:`steps` is.

    Args:
        optimizer: whose steps to count.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._called = 0
        self._skipped: Tensor | None = None
        self._handle = optimizer.register_step_post_hook(self._count)

    def _count(self, optimizer: Optimizer, *_: Any) -> None:
        self._called += 1
        found_inf = getattr(
            optimizer, "found_inf", None
        )  # set by a GradScaler while it steps a fused optimizer
        if isinstance(found_inf, Tensor):
            skipped = (found_inf.detach().reshape(()) > 0).int()
            self._skipped = skipped if self._skipped is None else self._skipped + skipped

    @property
    def steps(self) -> int:
        """Steps so far; of a fused optimizer under a ``GradScaler`` this waits for the device."""
        if self._skipped is not None:
            self._called -= int(self._skipped)
            self._skipped = None
        return self._called

    @steps.setter
    def steps(self, count: int) -> None:
        self._called, self._skipped = count, None

    def remove(self) -> None:
        """Stops counting."""
        self._handle.remove()
