"""Knobs beside λ: moved by a policy's further actions, and turned at the optimizers that a schedule is attached to."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from torch.optim import Optimizer

from lambda_rl.control import ControlLaw
from lambda_rl.knobs import KNOBS, Knob


class FurtherKnobs:
    """Each begins at its neutral value, brought into its range, and is turned at the first move.

    Args:
        controls: each knob, of a kind in :data:`lambda_rl.knobs.KNOBS`, and its law, in the order of the actions.
        optimizers: where they are turned; none: whoever asks for :attr:`values` turns them.

    Attributes:
        log_values: log₁₀ of the values in force, by name.
    """

    def __init__(self, controls: Sequence[tuple[Knob, ControlLaw]], optimizers: Sequence[Optimizer]) -> None:
        self._optimizers = optimizers
        self._laws = {knob.name: law for knob, law in controls}
        self._turned = {name: KNOBS[name].neutral for name in self._laws}
        self.log_values = {name: law.clip(math.log10(self._turned[name])) for name, law in self._laws.items()}

    @property
    def values(self) -> dict[str, float]:
        """The values in force, by name."""
        return {name: 10.0**value for name, value in self.log_values.items()}

    def move(self, actions: Sequence[float]) -> None:
        """Moves each knob by its action, in [-1, 1], and turns it."""
        for (name, law), action in zip(self._laws.items(), actions, strict=True):
            self.log_values[name] = law.apply(self.log_values[name], action)
        if self._optimizers:
            for name, value in self.values.items():
                KNOBS[name].deploy(self._optimizers, value, self._turned[name])
                self._turned[name] = value

    def load(self, log_values: Mapping[str, float]) -> None:
        """Takes back :attr:`log_values`; the optimizers' own state has the knobs as they were turned."""
        self.log_values = {name: float(value) for name, value in log_values.items()}
        self._turned = self.values
