"""Knobs beside λ: moved by a policy's further actions, and turned at the optimizers that a schedule is attached to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from lambda_rl.control import ControlLaw
from lambda_rl.knobs import Knob, kind_of


class FurtherKnobs:
    """Each begins at its neutral value, brought into its range, and is turned at each move.

    Args:
        controls: each knob, of a kind in :data:`lambda_rl.knobs.KNOBS`, and its law, in the order of the actions.
        optimizers: where they are turned; none: whoever asks for :attr:`values` turns them.
        model: the network, where those are turned that are a matter of the network; None: likewise.

    Attributes:
        log_values: the levels in force, by name.
    """

    def __init__(
        self,
        controls: Sequence[tuple[Knob, ControlLaw]],
        optimizers: Sequence[Optimizer],
        model: nn.Module | None = None,
    ) -> None:
        self._optimizers = optimizers
        self._laws = {knob.name: law for knob, law in controls}
        self._model = model if self._laws else None
        self._kinds = {name: kind_of(name) for name in self._laws}
        self._turned = {name: kind.neutral for name, kind in self._kinds.items()}
        self.log_values = {
            name: law.clip(self._kinds[name].level(self._turned[name])) for name, law in self._laws.items()
        }

    @property
    def values(self) -> dict[str, float]:
        """The values in force, by name."""
        return {name: self._kinds[name].value(level) for name, level in self.log_values.items()}

    def move(self, actions: Sequence[float]) -> None:
        """Moves each knob by its action, in [-1, 1], and turns it."""
        for (name, law), action in zip(self._laws.items(), actions, strict=True):
            self.log_values[name] = law.apply(self.log_values[name], action)
        for name, value in self.values.items():
            if self._optimizers:
                self._kinds[name].deploy(self._optimizers, value, self._turned[name])
            if self._model is not None:
                self._kinds[name].turn(self._model, value)
            self._turned[name] = value

    def load(self, log_values: Mapping[str, float]) -> None:
        """Takes back :attr:`log_values`; the optimizers' own state has the knobs as they were turned."""
        self.log_values = {name: float(value) for name, value in log_values.items()}
        self._turned = self.values
        if self._model is not None:  # dropout is no part of a network's state
            for name, value in self._turned.items():
                self._kinds[name].turn(self._model, value)
