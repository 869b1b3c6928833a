"""Validation falling from its best while training improves: κ rises to 2, or to what was in force at the best.

With wrong labels a network learns what is true first, and then what is wrong by heart: validation falls while training
climbs. A policy that goes on lowering κ then, or holds it low, is not believed.

The rule acts after two decisions in a row at which the validation accuracy is below its best by more than noise (half
as much, if the loss is far above its best), the validation loss above its best, and the training accuracy above what
it was at the best. The bound (``least``) is the κ at the best, 2 at least. If κ is there already and two more decisions
are no better, it is doubled, up to 16 (with norms 128). It is gone when half of the margin has been made good.

**An example** (as of digits with 30 % label noise in validation, too, 300 of it; a policy that always lowers κ)::

    decision      3     4     5     6     7     8     9    10
    val acc   0.630 0.637 0.613 0.557 0.560 0.573 0.577 0.640
    val loss   0.75  0.82  0.93  1.07  1.19  1.16  1.13  1.03
    train acc  0.72  0.78  0.82  0.86  0.93  0.96  0.97  0.98
    κ         0.032  0.01  0.01  0.01   2.0   2.0   4.0   4.0
    least         -     -     -   2.0   2.0   4.0   4.0     -

The best was 0.66 at decision 2, with a training accuracy of 0.68 and a validation loss of 0.68. The margin is two
standard deviations of 300 examples, 0.055.
"""

from __future__ import annotations

import math
from typing import ClassVar

from lambda_rl.schedules.guard.reading import Reading
from lambda_rl.schedules.guard.rule import NONE, Rule

FALL, DEVIATIONS = 0.04, 2.0
"""The margin: validation accuracy is below its best by more than this, and than these standard deviations of what so
many examples say."""

FALL_INFERRED = 0.15
"""The margin where accuracy was inferred from the loss, which rises from confidence alone, too."""

LOSS = 0.02
"""Validation loss over log C above its best; asked for until the rule first acts."""

FAR = 0.1
"""With a validation loss so far above its best, half of the margin is enough."""

WAIT = 2
"""Decisions in a row."""

MEND, MOST, DOUBLE = math.log10(2.0), math.log10(16.0), math.log10(2.0)
"""log₁₀ κ: at least the first; doubled up to the second. Over plain loops on small tables the best κ was 1 to 10."""

MOST_NORMALISED = math.log10(128.0)
"""The second one where the network has norms: there the best κ was 10 to 100, and too much of it does little harm."""


class Overfitting(Rule):
    """The rule.

    Args:
        val_size: validation examples.
        normalised: whether the network has norms; None: unknown.
    """

    name: ClassVar[str] = "overfitting"
    warning: ClassVar[str] = (
        "validation falls from its best while training improves and decay is low; κ rises to {kappa:.2g}"
    )
    from_above: ClassVar[bool] = False
    remembered: ClassVar[tuple[str, ...]] = ("best", "best_loss", "kappa", "train", "falls")

    def __init__(self, val_size: int = 1, normalised: bool | None = None) -> None:
        super().__init__()
        self._size = val_size
        self._most = MOST_NORMALISED if normalised else MOST
        self.best = 0.0  # validation accuracy
        self.best_loss = NONE  # of validation
        self.kappa = NONE  # log₁₀ κ in force at the best accuracy
        self.train = 0.0  # training accuracy there
        self.falls = 0.0  # decisions in a row that were hurt

    def see(self, reading: Reading) -> bool:
        """Compares with the best."""
        self.best_loss = min(self.best_loss, reading.val_loss)
        if reading.val_accuracy >= self.best:
            self.best, self.train = reading.val_accuracy, reading.train_accuracy
            self.kappa = reading.log_kappa
        fell = self.best - reading.val_accuracy
        margin = FALL_INFERRED if reading.inferred else FALL
        margin = max(margin, DEVIATIONS * math.sqrt(self.best * (1.0 - self.best) / self._size))
        if fell < 0.5 * margin:
            self.low, self.falls = -NONE, 0.0
            return False
        far = fell > 0.5 * margin and reading.val_loss > self.best_loss + FAR
        worse = far or (fell > margin and (self.low > -NONE or reading.val_loss > self.best_loss + LOSS))
        self.falls = self.falls + 1 if worse and reading.train_accuracy > self.train else 0.0
        bound = self._bound(reading)
        if self.falls < WAIT or bound <= reading.log_kappa:
            return False
        self.low, self.falls = bound, 0.0
        return True

    def _bound(self, reading: Reading) -> float:
        """The κ at the best, or twice that in force if it is there already."""
        bound = max(self.kappa, MEND)
        if bound > reading.log_kappa + 1e-9:
            return bound
        return min(reading.log_kappa + DOUBLE, max(bound, self._most))
