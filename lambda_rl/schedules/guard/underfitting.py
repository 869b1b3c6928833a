"""Much decay where nothing overfits: κ stays small until there is something to regularize against.

A stall of training may be a hidden rule that is yet to be found, for which much decay is right, or the doing of decay
itself. A policy that takes the second for the first raises κ, training stalls the more, and validation with it: a trap
that looks like progress, since both losses still fall, slowly. On CIFAR with a slow learning rate it cost 10 to 16 of
39 points.

The rule bounds κ (``most``):

- by :data:`FIRST` for two decisions, before anything or much was seen, and by :data:`LEAST` while nothing was learned:
  at chance there is nothing to regularize;
- by :data:`LEAST` in a run whose learning rate falls so early that most of the learning is done before a network can
  overfit;
- else by :data:`MODERATE`; and after :data:`LONG` decisions by :data:`LITTLE` and half as much at each further one,
  unless training is much worse than validation, as with wrong labels among training examples, dropout or augmentation.

The bound is gone for :data:`WAIT` decisions at each sign of overfitting: training loss is below validation loss, and
validation no better than its best; or far below it; or validation loss is above its best, and training better than at
that best. If training is worse than there, too, decay may be to blame, and the bound is back at once.

Where the network has norms, decay hardly keeps it from learning; there the rule does nothing.

**An example**, of a policy that wants κ = 10::

    decision      0     1     2     3     4     5     6     7     8     9    10    11
    train loss    -  1.00  0.98  0.91  0.90  0.85  0.80  0.75  0.65  0.60  0.60  0.58
    val loss      -  1.00  0.97  0.90  0.88  0.83  0.80  0.75  0.78  0.74  0.73  0.72
    most       0.05  0.03  0.03   3.0   3.0   0.3  0.15 0.075     -     -     -   3.0

At decision 8 validation is worse than at 7, and training better. Three decisions later there was no other sign: the gap
is not wide, and validation better than ever each time.
"""

from __future__ import annotations

import math
from typing import ClassVar

from lambda_rl.schedules.guard.reading import Reading
from lambda_rl.schedules.guard.rule import NONE, Rule

GAP = 0.01
"""Training loss over log C below validation's by more than this: the network overfits."""

WIDE = 0.2
"""From here on it does whatever validation does: examples were learned by heart, and a rule may yet be found."""

LOSS = 0.02
"""Validation loss over log C above its best, beyond noise."""

BEHIND = 0.05
"""Training so far behind validation, in accuracy or in loss over log C, is made harder than it: by wrong labels or the
like."""

CHANCE = 0.95
"""Loss over log C, the lower one of training and validation, above which nothing was learned."""

FIRST, LEAST, LITTLE, MODERATE = math.log10(0.05), math.log10(0.03), math.log10(0.3), math.log10(3.0)
"""log₁₀ κ: the bounds. What was too little can be mended later. In short runs on digits that underfit, 0.03 cost 0.3
points, 0.1 one, 0.3 three to four."""

EARLY, MOST_DONE = 0.25, 0.55
"""So early in the run less than this share of the summed learning rate is left: a cosine or a straight line has 0.6."""

WAIT = 3
"""Decisions in a row without a sign of overfitting, after which the bound is back."""

WORTH_SAYING = 4
"""Decisions in a row at the bound, after which it is told: before, it is how most runs begin."""

LONG = 8
"""Decisions in a row without such a sign, three of them before the first one, after which κ has to be little. On small
CIFAR tasks, where much decay is right, a gap shows before."""

HALF = math.log10(2.0)
"""Decades that the bound falls by at each further decision: a run that underfits to its end is best without decay. On
40 clouds in a short run with plain SGD, κ = 0.1 costs 8 points, and the bound of 0.3 to the end cost 10."""

_HAIR = 1e-6  # a κ so near to a bound, in decades, lies at it


class Underfitting(Rule):
    """The rule.

    Args:
        normalised: whether the network has norms; None: unknown.
    """

    name: ClassVar[str] = "underfitting"
    warning: ClassVar[str] = (
        "the network does not overfit (training loss is not below validation loss, and validation is at its best); "
        "κ is kept at {kappa:.2g} or less until it does"
    )
    remembered: ClassVar[tuple[str, ...]] = ("best", "train", "waited", "at_bound", "brief")

    def __init__(self, normalised: bool | None = None) -> None:
        super().__init__()
        self._normalised = normalised is True
        self.high = NONE if self._normalised else FIRST
        self.best = NONE  # validation loss
        self.train = NONE  # training loss there
        self.waited = float(WAIT)  # decisions in a row without overfitting; at first nothing has been seen
        self.at_bound = 0.0  # decisions in a row at which more was asked for
        self.brief = 0.0  # 1 where most of the learning is over early

    def see(self, reading: Reading) -> bool:
        """Looks for a sign of overfitting."""
        if self._normalised:
            return False
        if reading.progress <= EARLY and reading.left < MOST_DONE:
            self.brief = 1.0
        first = self.best == NONE
        self._look(reading)
        if self.waited < WAIT:
            self.high, self.at_bound = NONE, 0.0
            return False
        self.high = min(self._bound(reading), FIRST if first else NONE)
        self.at_bound = self.at_bound + 1 if reading.log_kappa > self.high - _HAIR else 0.0
        return self.at_bound >= WORTH_SAYING

    def _look(self, reading: Reading) -> None:
        gap, fell = reading.val_loss - reading.train_loss, reading.val_loss > self.best + LOSS
        if gap > WIDE:
            self.waited = 0.0
        elif fell and reading.train_loss >= self.train:
            self.waited = float(WAIT)
        elif fell or (reading.val_loss >= self.best and gap > GAP):
            self.waited = 0.0
        else:
            self.waited += 1
        if reading.val_loss < self.best:
            self.best, self.train = reading.val_loss, reading.train_loss

    def _bound(self, reading: Reading) -> float:
        """log₁₀ κ, where nothing overfits."""
        if self.brief or min(reading.train_loss, reading.val_loss) > CHANCE:
            return LEAST
        harder = (
            max(reading.val_accuracy - reading.train_accuracy, reading.train_loss - reading.val_loss) > BEHIND
        )
        if harder or self.waited < LONG:
            return MODERATE
        return min(self.high, LITTLE + HALF) - HALF
