"""Training loss rising with decay dominating: κ goes back to the last good one.

A controller that raises κ finds the edge by stepping over it: half a decade too much, and the weights collapse within a
decision or two. What was learned is then undone in training and validation alike, while the norm falls. (Where a high κ
makes a network forget wrong labels, the training loss rises too, but validation gets better; the rule does nothing.)

The rule acts when both losses rise and the weights shrink, by much in one decision (:data:`COLLAPSING`; then validation
alone will do), or steadily in two, with both losses far above their best; not while validation accuracy climbs. The
bound (``most``) is the κ at the best validation accuracy, but half a decade to one below the one in force. It rises
by a tenth of a decade at each later decision, by half as much each time that the rule has acted again. Where most is
lost already it is 1 at first.

Where the network has norms, what it computes does not depend on the size of the weights before them, and the losses
rise and fall with the effective learning rate that their size decides on. There the rule acts where most is lost, and
where training was undone and nothing is left to regularize: twice in a row the training loss is far above its best,
validation hardly above training, and validation accuracy below its best. (A transformer that had learned sums by heart
forgot them at κ = 70, and a policy went on to 110: 36 points.)

**An example** (digits with 30 % label noise; a policy that always raises κ by half a decade)::

    decision      1     2     3     4
    train loss 0.90  0.62  0.66  0.62
    val loss   0.74  0.70  0.78  0.66
    val acc    0.53  0.62  0.61  0.66
    shrunk     0.04  0.22  0.68  0.10
    κ           3.2  10.0  31.6  10.0
    most          -     -  10.0  12.6

Without the rule the loss is at chance at decision 4, with a 17th of the weights left.
"""

from __future__ import annotations

from typing import ClassVar

from lambda_rl.schedules.guard.reading import Reading
from lambda_rl.schedules.guard.rule import NONE, Rule

WORSE = 0.02
"""A loss over log C that rises by more than this is worse: training above the last decision, validation above its best.
Means over an interval move by less from chance alone."""

COLLAPSING = 0.25
"""E-foldings that the norm shrank by in one decision: one more like it, and three layers let half as much through."""

FALL = 0.04
"""While weights collapse, a validation accuracy so far below its best is enough, with a loss :data:`RISE` above: the
training loss is a mean over the interval, and tells later."""

SHRINKING, RISE = 0.05, 0.1
"""The slower way: two decisions that shrink the norm and are worse, and both losses this far above their best."""

STEP, FURTHEST = 0.5, 1.0
"""Decades below the κ that did the harm, at least and at most: the best of an early decision may have been at a κ far
too low for the rest of the run."""

CLIMB = 0.02
"""A validation accuracy that rose by more than this since the last decision: nothing of worth is undone."""

LOST, LEARNED = 0.9, 0.8
"""From this loss on most is lost; and below this one it is learned again."""

GENTLE = 0.0
"""log₁₀ κ until then."""

UNDONE, WIDE = 0.3, 0.2
"""Where the network has norms: the training loss so far above its best, and validation's within this of it."""

RELAX = 0.1
"""Decades that the bound rises by at a decision. Held for the rest of a run, it cost few and noisy examples 5 to 8
points, where the rule had acted too early."""


class Rising(Rule):
    """The rule.

    Args:
        normalised: whether the network has norms; None: unknown.
    """

    name: ClassVar[str] = "rising"
    warning: ClassVar[str] = (
        "decay undoes what was learned (training and validation loss rise while the weights shrink); κ goes back to "
        "{kappa:.2g}"
    )
    remembered: ClassVar[tuple[str, ...]] = (
        "best_train", "best_val", "best_accuracy", "good", "before", "accuracy", "rises", "cap", "relax",
    )  # fmt: skip

    def __init__(self, normalised: bool | None = None) -> None:
        super().__init__()
        self._normalised = normalised is True
        self.best_train = self.best_val = NONE  # losses
        self.best_accuracy = 0.0  # of validation
        self.good = NONE  # log₁₀ κ in force there
        self.before = NONE  # training loss at the last decision
        self.accuracy = 1.0  # of validation there
        self.rises = 0.0  # decisions in a row that were worse
        self.cap = NONE  # the bound
        self.relax = 2 * RELAX  # decades that it rises by

    def see(self, reading: Reading) -> bool:
        """Compares with the best and with the last decision."""
        if reading.val_accuracy >= self.best_accuracy:
            self.best_accuracy, self.good = reading.val_accuracy, reading.log_kappa
        acts = self._worse(reading)
        self.best_train = min(self.best_train, reading.train_loss)
        self.best_val = min(self.best_val, reading.val_loss)
        self.before, self.accuracy = reading.train_loss, reading.val_accuracy
        if acts:
            good = max(self.good, reading.log_kappa - FURTHEST)
            self.cap = min(self.cap, good, reading.log_kappa - STEP)
            self.relax /= 2
        elif reading.train_loss < LEARNED:
            self.cap += self.relax
        if acts and reading.train_loss > LOST:
            self.high = min(self.cap, GENTLE)
        elif acts or reading.train_loss < LEARNED:
            self.high = self.cap
        return acts

    def _undone(self, reading: Reading) -> bool:
        """Whether, with norms, training is far above its best for the second time, with no gap and no gain."""
        undone = (
            reading.train_loss > self.best_train + UNDONE
            and reading.val_loss < reading.train_loss + WIDE
            and reading.val_accuracy < self.best_accuracy
        )
        self.rises = (self.rises + 1) % 2 if undone else 0.0
        return undone and self.rises == 0

    def _worse(self, reading: Reading) -> bool:
        if self._normalised and reading.train_loss < LOST:
            return self._undone(reading)
        if reading.val_accuracy > self.accuracy + CLIMB:
            self.rises = 0.0
            return False
        rise, above = reading.train_loss - self.before, reading.val_loss - self.best_val
        worse = rise > WORSE and above > WORSE and reading.shrunk > SHRINKING
        self.rises = self.rises + 1 if worse else 0.0
        if reading.shrunk > COLLAPSING:
            return worse or (above > RISE and reading.val_accuracy < self.best_accuracy - FALL)
        return self.rises >= 2 and above > RISE and reading.train_loss - self.best_train > RISE
