"""Counts the steps that an optimizer really makes, and notices when it is no longer the one that trains."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.optim import Optimizer

PATIENCE = 10
"""Calls in a row without a step that are believed, where calls come about as often as steps."""


class StepCounter:
    """Counts optimizer steps, not calls or minibatches, so gradient accumulation is right.

    Steps that a ``GradScaler`` skips do not count. It does not call most optimizers then; a fused one it calls, and
    leaves the skipping to its kernel: what was skipped is added up on the device, and read when :attr:`steps` is.

    Args:
        optimizer: whose steps to count.
        steps: done already.

    Attributes:
        calls: of the optimizer, skipped steps included, since this counter was made.
    """

    def __init__(self, optimizer: Optimizer, steps: int = 0) -> None:
        self.calls = 0
        self._before = steps  # less those that were skipped since
        self._skipped: Tensor | None = None
        self._handle = optimizer.register_step_post_hook(self._count)

    def _count(self, optimizer: Optimizer, *_: Any) -> None:
        self.calls += 1
        # Set by a GradScaler while it steps a fused optimizer.
        found_inf = getattr(optimizer, "found_inf", None)
        if isinstance(found_inf, Tensor):
            skipped = (found_inf.detach().reshape(()) > 0).int()
            self._skipped = skipped if self._skipped is None else self._skipped + skipped

    @property
    def steps(self) -> int:
        """Steps so far; of a fused optimizer under a ``GradScaler`` this waits for the device."""
        if self._skipped is not None:
            self._before -= int(self._skipped)
            self._skipped = None
        return self._before + self.calls

    @steps.setter
    def steps(self, count: int) -> None:
        self._before, self._skipped = count - self.calls, None

    def remove(self) -> None:
        """Stops counting."""
        self._handle.remove()


class Standstill:
    """Tells calls of a schedule that find no step since the last call and should: its optimizer does not train.

    None is nothing odd where calls come with each minibatch: gradients may be accumulated, and a ``GradScaler`` may
    skip steps. It is odd at once if the weights changed meanwhile or calls have been several steps apart, else after
    :data:`PATIENCE` calls in a row.

    Args:
        version: of the weights now, see :meth:`lambda_rl.attach.groups.DecayGroups.version`.
    """

    def __init__(self, version: int) -> None:
        self._version: int | None = version
        self._calls = 0
        self._most = 0  # optimizer calls between two calls of the schedule
        self._idle = 0  # calls of the schedule without one, in a row

    def hooked_anew(self) -> None:
        """The optimizer was copied: its weights are others, and its counter begins at 0."""
        self._version, self._calls = None, 0

    def found(self, calls: int, version: int) -> bool:
        """Whether this call of the schedule should have found a step and has not.

        Args:
            calls: of the optimizer, see :attr:`StepCounter.calls`.
            version: of the weights now.
        """
        passed, changed = calls - self._calls, self._version not in (None, version)
        self._calls, self._version = calls, version
        self._most = max(self._most, passed)
        self._idle = 0 if passed else self._idle + 1
        return self._idle > 0 and (changed or self._most > 1 or self._idle > PATIENCE)
