"""The reward: the change of a score on held-out reward images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RewardConfig:
    """The score whose change from decision to decision is the reward.

    ``score = accuracy_weight · accuracy - log_loss_weight · min(loss / log C, max_loss)`` on ``outer-val``, times
    ``scale``. The log-loss part is there because accuracy alone is noisy on few images (design.md: it learned twice
    as fast). Rewards of an episode sum to the final score minus that of guessing.

    Attributes:
        scale: of the reward.
        accuracy_weight: weight of the accuracy, a fraction.
        log_loss_weight: weight of the loss in units of log C.
        max_loss: where the loss is clipped, in units of log C.
        outer_size: images of the part outer-val drawn per run for the score at each decision; the last decision takes
            the whole part, so that the sum of the rewards is less noisy than its terms.
        attacked: share of loss and accuracy that is of adversarial images, by the fast gradient sign method with 8 of
            255 levels of a pixel; from 0 to 1.
    """

    scale: float = 5.0
    accuracy_weight: float = 1.0
    log_loss_weight: float = 1.0
    max_loss: float = 2.0
    outer_size: int = 500
    attacked: float = 0.0

    def __post_init__(self) -> None:
        """Checks the numbers."""
        if min(self.accuracy_weight, self.log_loss_weight) < 0 or self.scale <= 0 or self.max_loss <= 0:
            raise ValueError(f"reward: weights must not be negative, scale and max_loss positive; got {self}")
        if not 0 <= self.attacked <= 1:
            raise ValueError(f"reward: attacked must be a share from 0 to 1, got {self.attacked}")
        if self.outer_size < 1:
            raise ValueError(f"reward: outer_size must be at least 1, got {self.outer_size}")

    def score(self, accuracy: npt.ArrayLike, loss: npt.ArrayLike, num_classes: npt.ArrayLike) -> Array:
        """The score (without ``scale``); a loss that is not finite counts as ``max_loss``."""
        scaled = np.asarray(loss, np.float64) / np.log(num_classes)
        scaled = np.minimum(np.nan_to_num(scaled, nan=self.max_loss, posinf=self.max_loss), self.max_loss)
        return self.accuracy_weight * np.asarray(accuracy, np.float64) - self.log_loss_weight * scaled

    def chance(self, num_classes: npt.ArrayLike) -> Array:
        """The score of guessing."""
        return self.score(1.0 / np.asarray(num_classes), np.log(num_classes), num_classes)
