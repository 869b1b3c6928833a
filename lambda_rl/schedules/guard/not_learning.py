"""Not learning although decay is on: κ falls back to a tenth, 0.1 at most.

Small weights let little signal through, and decay makes them smaller: where it wins, the loss never leaves chance, and
the longer it goes on, the longer the way back is (with initial weights × 0.2, digits lost 70 points at κ = 10).

The rule counts e-foldings of decay while both losses are at chance (``decayed``; what the weights really shrank by,
where that is more: the L2 of Adam is not divided by κ). Beyond :data:`DECAYED`, or after :data:`SHARE` of the run, κ is
bounded (``most``). When a loss leaves chance the bound is raised step by step to half the κ that failed, and is gone
when something has been learned.

**An example**, 20 decisions, a policy that wants κ = 4::

    decision      1     2     3     4     5     6     7
    train loss 1.00  1.00  1.00  0.99  0.95  0.88  0.70
    κ           4.0   4.0   4.0   0.1   0.1   0.2   0.4
    decayed     0.2   0.4   0.0   0.0   0.0   0.0   0.0
    most          -     -   0.1   0.1   0.2   0.4     -

At decision 3 the count is 0.6; the rule acts, and begins to count anew.
"""

from __future__ import annotations

import math
from typing import ClassVar

from lambda_rl.schedules.guard.reading import Reading
from lambda_rl.schedules.guard.rule import NONE, Rule

CHANCE = 0.97
"""Loss over log C, the lower one of training and validation, from which on nothing has been learned. Heavy noise keeps
losses high, but not so high: 2 classes of which 30 % are swapped have 0.88."""

EARLIER = 0.02
"""What validation has to be further from chance: it sees the end of an interval, at which all may be lost again."""

LEARNED = 0.8
"""Loss below which the bound is gone: the network is past the plateau that it begins on."""

LEFT = 0.9
"""A loss that was below this has left chance; if it comes back there, decay is to blame at once."""

DECAYED = 0.5
"""E-foldings of decay at chance: weights of 0.6 of their size, 0.22 in the product of three layers. Below it, waiting
costs little; networks that learn at κ of 1 to 5 leave chance before."""

SHARE, WAIT = 0.2, 2
"""So much of the run, and so many decisions at chance in a row, and a small κ is to blame, too; lowering it is safe."""

WEAK = math.log10(0.05)
"""log₁₀ of the κ below which decay is never to blame."""

TENTH, HARMLESS = 1.0, -1.0
"""Fallback: log₁₀ κ lower by this, and at most this."""

DOUBLE = math.log10(2.0)
"""Steps of the way back, and what it stays below the κ that failed."""


class NotLearning(Rule):
    """The rule."""

    name: ClassVar[str] = "not learning"
    warning: ClassVar[str] = (
        "the training loss is at chance while decay shrinks the weights; κ falls back to {kappa:.2g} until the loss "
        "leaves chance"
    )
    remembered: ClassVar[tuple[str, ...]] = ("failed", "waited", "decayed", "best")

    def __init__(self) -> None:
        super().__init__()
        self.failed = NONE  # log₁₀ of the smallest κ at which nothing was learned
        self.waited = 0.0  # decisions at chance in a row
        self.decayed = 0.0  # e-foldings in them
        self.best = NONE  # loss so far

    def see(self, reading: Reading) -> bool:
        """Counts, acts or releases."""
        # validation is measured at the interval's end and tells first; the training loss is a mean over it
        loss = min(reading.train_loss, reading.val_loss + EARLIER)
        self.best = min(self.best, loss)
        if loss < CHANCE:
            self.waited = self.decayed = 0.0
            learned = loss < LEARNED
            self.high = NONE if learned else min(self.high + DOUBLE, self.failed - DOUBLE)
            return False
        self.waited += 1
        self.decayed += max(reading.decayed, reading.shrunk)
        if not self._to_blame(reading):
            return False
        self.failed = min(self.failed, reading.log_kappa)
        self.high = min(reading.log_kappa - TENTH, HARMLESS)
        self.waited = self.decayed = 0.0
        return True

    def _to_blame(self, reading: Reading) -> bool:
        late = self.waited >= WAIT and reading.progress >= SHARE
        return reading.log_kappa >= WEAK and (self.best < LEFT or self.decayed >= DECAYED or late)
