"""Knobs: numbers that a policy may move while a network trains, λ first, and what turning them does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from lambda_rl.checks import bounded, shown
from lambda_rl.registry import Registry

LAM = "lam"
"""Name of the knob that is λ, the strength of the penalty."""

KAPPA = "kappa"
"""Name of the knob that is κ = λ · Σ effective learning rate of the run, the decay budget: by how many e-foldings decay
alone would shrink the weights. It makes λ comparable between learning rates, momenta, budgets and scales of weights."""

UNITS = (LAM, KAPPA)
"""What the first knob of a policy that sets λ may be."""

LARGEST_LOG = 30.0
"""Knobs lie within 10 to the power of ± this."""

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class Knob:
    """One number under a policy's control: its name, its range, and how far one decision may move it.

    The scale is logarithmic, to base 10.

    Attributes:
        name: 1 to 64 letters, digits, ``_``, ``.`` or ``-``; :data:`LAM` is λ, :data:`KAPPA` the decay budget.
        log_low: log₁₀ of the smallest value, -30 or more.
        log_high: log₁₀ of the largest value, 30 or less.
        max_change: what an action of 1 adds to the logarithm, in decades; above 0, 60 or less.

    Raises:
        ValueError: a number outside of these, a range that is reversed or empty, or another name.
    """

    name: str
    log_low: float
    log_high: float
    max_change: float

    def __post_init__(self) -> None:
        """Checks all, and makes the numbers floats."""
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ValueError(
                f"a knob's name must be 1 to 64 letters, digits, '_', '.' or '-', got {shown(self.name)}"
            )
        knob = f"knob {self.name}"
        low = bounded(f"{knob}: log10 of its smallest value", self.log_low, -LARGEST_LOG, LARGEST_LOG)
        high = bounded(f"{knob}: log10 of its largest value", self.log_high, -LARGEST_LOG, LARGEST_LOG)
        change = bounded(f"{knob}: max_change (decades)", self.max_change, 0.0, 2 * LARGEST_LOG)
        if low >= high:
            raise ValueError(f"{knob}: range reversed or empty: log_low={low} must be below log_high={high}")
        if change == 0:
            raise ValueError(f"{knob}: max_change must be positive (decades per decision), got 0")
        for field, number in (("log_low", low), ("log_high", high), ("max_change", change)):
            object.__setattr__(self, field, number)


class KnobKind:
    """What turning a knob does. A new knob is a subclass and a registration in :data:`KNOBS`.

    λ itself is no kind: how it enters the loss is a penalty's business, and how it is written to an optimizer that of
    the parameter groups with decay. All other knobs are moved beside it.

    Attributes:
        log_low: log₁₀ of the smallest value, for those who name no range.
        log_high: log₁₀ of the largest value.
        max_change: decades that an action of 1 moves it by.
        neutral: the value at which a run is as without the knob; it starts there.
    """

    log_low: float = -1.0
    log_high: float = 1.0
    max_change: float = 0.25
    neutral: float = 1.0

    def train(self, inputs: dict[str, Tensor], value: Tensor) -> None:
        """Changes what the steps of an interval depend on, in place, for N stacked networks.

        Args:
            inputs: ``lam`` ``[N]``, ``momentum`` ``[N]`` and ``learning_rate`` ``[steps, N]``.
            value: the knob's, ``[N]``.
        """
        raise NotImplementedError

    def deploy(self, optimizers: Sequence[Optimizer], value: float, before: float) -> None:
        """Does the same to the optimizers of a user's loop, before the steps of an interval.

        Args:
            optimizers: those that the schedule is attached to.
            value: the knob's.
            before: its value until now, so that a factor can be taken back.
        """
        raise NotImplementedError

    def knob(self, name: str) -> Knob:
        """The knob under the kind's own range."""
        return Knob(name, self.log_low, self.log_high, self.max_change)


KNOBS: Registry[KnobKind] = Registry("knob")
"""Kinds of knobs beside λ, by name."""


def further_knobs(knobs: Iterable[str | Knob]) -> tuple[Knob, ...]:
    """Knobs beside λ: those that are named under their kind's own range, others as they are.

    Raises:
        ValueError: there is no such knob; the message lists those that there are.
    """
    return tuple(KNOBS[knob].knob(knob) if isinstance(knob, str) else knob for knob in knobs)
