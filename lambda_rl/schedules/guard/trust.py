"""A trust region around the user's own decay: a policy leaves it as far as it has earned.

λ stays within some decades of the ``weight_decay`` that the optimizer was made with. A side moves out by :data:`STEP`
when λ lay at it over an interval that speaks for it: validation loss is better than ever; or it is worse than its best
by :data:`LOSS`, and training loss is better than at that best (the network overfits: for more decay), or is not (it
underfits: for less). The side that such an interval speaks against is as at the start again. The rules of the guard,
which look at what decay does to the run, count more than this one.

It is off unless asked for (``trust="auto"``, one decade, or a number of decades). Most loops give a decay only to mark
the groups, with 1e-4 or so, which says nothing of the run: bounds around it would keep a policy from what it learned.
Where it is off, or "auto" finds no decay of the user's own, nothing is bounded: λ is what it is without this rule, to
the last bit.

**An example.** A decay of 0.01 at a summed learning rate of 10 is κ = 0.1; one decade is allowed. The policy asks for
half a decade more at each decision::

    decision      1     2     3     4     5     6     7
    κ           0.1  0.32   1.0   1.8   3.2   1.0   1.8
    train loss  0.9   0.8   0.7   0.6  0.65  0.55   0.5
    val loss    0.9   0.8   0.7  0.65   0.7   0.6  0.64
    most        1.0   1.0   1.8   3.2   1.0   1.8   3.2

κ was at the border up to decision 3, and validation better than ever: the border (``most``) moves, and again at 4. At 5
both losses are worse than at the best. At 7 validation is worse, too, but training is better.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from lambda_rl.arguments import plain_number
from lambda_rl.checks import shown
from lambda_rl.schedules.guard.reading import Reading
from lambda_rl.schedules.guard.rule import NONE, Rule

AUTO = 1.0
"""Decades to each side of the user's decay, where their number is not told."""

STEP = 0.25
"""Decades by which a side moves that has earned it."""

LOSS = 0.02
"""Validation loss over log C above its best, beyond noise."""

_HAIR = 1e-6  # a κ so near to a border, in decades, lies at it

TrustOption = Literal["auto"] | float | None


def trust_region(trust: TrustOption, own: float | None, decay_sum: float) -> Trust | None:
    """The region that a user asks for; None: none.

    Args:
        trust: "auto", decades above 0, or None.
        own: the decay that the optimizer was made with; None or 0: unknown.
        decay_sum: κ over the λ of the run.

    Raises:
        ValueError: ``trust`` is none of these, or decades around a decay that is unknown.
    """
    if trust is None:
        return None
    decades = AUTO if trust == "auto" else plain_number(trust)
    if decades is None or not 0 < decades < NONE:
        raise ValueError(f"trust must be 'auto', a number of decades above 0, or None, got {shown(trust)}")
    if own:
        return Trust(math.log10(own * decay_sum), float(decades))
    if trust == "auto":
        return None
    raise ValueError(
        "trust is meant around the optimizer's own weight_decay, and here there is none; say None or 'auto'"
    )


class Trust(Rule):
    """The rule.

    Args:
        own: log₁₀ κ of the user's own decay.
        decades: to each side of it, at the start.
    """

    name: ClassVar[str] = "trust"
    warning: ClassVar[str] = ""  # who asks for bounds is not warned of them
    remembered: ClassVar[tuple[str, ...]] = ("own", "decades", "best", "train")

    def __init__(self, own: float = 0.0, decades: float = NONE) -> None:
        super().__init__()
        self.own, self.decades = own, decades
        self.best = NONE  # validation loss
        self.train = NONE  # training loss there
        self.low, self.high = own - decades, own + decades

    def see(self, reading: Reading) -> bool:
        """Moves the sides; says nothing."""
        better = reading.val_loss < self.best < NONE
        worse, learning = reading.val_loss > self.best + LOSS, reading.train_loss < self.train
        overfits, underfits = worse and learning, worse and not learning
        if (better or overfits) and reading.log_kappa >= self.high - _HAIR:
            self.high += STEP
        if (better or underfits) and reading.log_kappa <= self.low + _HAIR:
            self.low -= STEP
        if underfits:
            self.high = self.own + self.decades
        if overfits:
            self.low = self.own - self.decades
        if reading.val_loss < self.best:
            self.best, self.train = reading.val_loss, reading.train_loss
        return False
