"""The unit of a loss: what guessing gets, so that losses of all kinds look to a policy as those of its training."""

from __future__ import annotations

import math
from typing import Any, Literal

from lambda_rl.arguments import plain_number, real_number
from lambda_rl.checks import shown

LossScaleOption = Literal["cross-entropy", "start"] | float | None
"""See ``loss_scale`` of :class:`lambda_rl.LearnedSchedule`."""


class LossScale:
    """Brings losses to nats of a cross-entropy of C classes, and says which accuracy a loss stands for.

    Args:
        option: "cross-entropy", "start" (the first training loss is that of guessing) or the loss of guessing, above 0;
            None: "cross-entropy" if the number of classes is known, else "start".
        num_classes: C.
        classes_known: whether the user said how many classes there are.

    Attributes:
        told: the option, or what None stands for.

    Raises:
        ValueError: another option, or a cross-entropy without the number of classes.
    """

    def __init__(self, option: LossScaleOption, num_classes: int, classes_known: bool) -> None:
        if option is None:
            option = "cross-entropy" if classes_known else "start"
        elif option == "cross-entropy" and not classes_known:
            raise ValueError('loss_scale="cross-entropy" needs num_classes')
        elif option not in ("cross-entropy", "start"):
            if plain_number(option) is None:
                raise ValueError(
                    f'loss_scale must be "cross-entropy", "start" or a number, got {shown(option)}'
                )
            option = real_number("loss_scale", option, more=True)
        self.told, self._classes_known = option, classes_known
        self._log_classes, self._chance = math.log(num_classes), 1.0 / num_classes
        self._guessing = option if isinstance(option, float) else None
        if option == "cross-entropy":
            self._guessing = self._log_classes

    @property
    def unit(self) -> float | None:
        """What losses are multiplied by to stand in nats of a cross-entropy; None: not known yet."""
        return None if self._guessing is None else self._log_classes / self._guessing

    def see(self, train_loss: float) -> None:
        """Takes the first training loss for that of guessing, where that is not known and the loss is above 0."""
        if self._guessing is None and train_loss > 0:
            self._guessing = train_loss

    def infer_accuracies(self, signals: dict[str, float]) -> list[str]:
        """Adds the accuracies that were not given, from the losses; the unit must be known.

        Returns:
            Names of those that a user who knows the number of classes could have given.
        """
        inferred = [part for part in ("train", "val") if f"{part}_accuracy" not in signals]
        for part in inferred:
            signals[f"{part}_accuracy"] = self._accuracy(signals[f"{part}_loss"])
        return [f"{part}_accuracy" for part in inferred if self._classes_known]

    def _accuracy(self, loss: float) -> float:
        """The accuracy that a loss stands for: chance at the loss of guessing or above, 1 at a loss of 0."""
        assert self._guessing is not None
        left = min(loss * (self._log_classes / self._guessing) / self._log_classes, 1.0)
        return self._chance + (1.0 - self._chance) * (1.0 - left)

    def state(self) -> Any:
        """The loss of guessing, or "start" where it is not known yet."""
        return "start" if self._guessing is None else self._guessing

    def load_state(self, state: Any) -> None:
        """Takes back what :meth:`state` gave."""
        self._guessing = None if state == "start" else float(state)
