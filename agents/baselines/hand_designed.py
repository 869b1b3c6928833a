"""The hand-designed families: constants, schedules of Lu (2017), cosine, and the rule that watches the gap."""

from __future__ import annotations

from collections.abc import Sequence

from lambda_rl.agents.baselines.families import (
    BASELINES,
    CONSTANT,
    CONSTANT_GRID,
    Baseline,
    check_constants,
    number,
)

_MIDDLES = (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5)  # log10 of the geometric middle of a ramp
_SPANS = (0.5, 1.5)  # decades between its ends; the narrow one comes close to a constant
_SHAPES = ("exponential", "linear")


def _ends() -> list[tuple[str, str]]:
    """Lower and upper end of each ramp."""
    return [
        (number(10 ** (middle - span / 2)), number(10 ** (middle + span / 2)))
        for middle in _MIDDLES
        for span in _SPANS
    ]


class Constants(Baseline):
    """The same λ throughout; tuned over the grid that takes part in the comparison, all of it."""

    name = "constant"
    kind = CONSTANT
    form = "constant:{}"
    untuned = "constant:0.01"

    def settings(self, constants: Sequence[float] = CONSTANT_GRID, most: int = 0) -> list[str]:
        """One for each value, whatever ``most`` says."""
        return [self.form.format(number(value)) for value in check_constants(constants)]


class PullDown(Baseline):
    """λ falls."""

    name = "pull-down"
    form = "pull-down:{high},{low},{shape}"
    untuned = "pull-down:0.1,0.001"

    def grid(self) -> list[str]:
        """Middle × span × shape."""
        return [
            self.form.format(high=high, low=low, shape=shape) for low, high in _ends() for shape in _SHAPES
        ]


class PullUp(Baseline):
    """λ rises."""

    name = "pull-up"
    form = "pull-up:{low},{high},{shape}"
    untuned = "pull-up:0.001,0.1"

    def grid(self) -> list[str]:
        """Middle × span × shape."""
        return [
            self.form.format(high=high, low=low, shape=shape) for low, high in _ends() for shape in _SHAPES
        ]


class HalfCosine(Baseline):
    """λ falls or rises along half a cosine."""

    name = "cosine"
    form = "cosine:{},{}"
    untuned = "cosine:0.1,0.001"

    def grid(self) -> list[str]:
        """Middle × span × direction."""
        return [self.form.format(*ends) for low, high in _ends() for ends in ((high, low), (low, high))]


class Steps(Baseline):
    """λ in four steps."""

    name = "steps"
    form = "steps:{}"
    untuned = "steps:0.03,0.02,0.01,0"
    shapes = ((3.0, 2.0, 1.0, 0.0), (1.0, 0.1, 0.01, 0.001), (1.0, 0.316, 0.1, 0.0316))  # the first is Lu's

    def grid(self) -> list[str]:
        """Shape × height."""
        return [
            self.form.format(",".join(number(10**exponent * factor) for factor in shape))
            for shape in self.shapes
            for exponent in _MIDDLES
        ]


class Gap(Baseline):
    """λ follows the gap between training and validation."""

    name = "gap"
    form = "gap:initial={initial},factor={factor:g},threshold={threshold:g}"
    untuned = "gap:initial=0.01,factor=2,threshold=0.05"

    def grid(self) -> list[str]:
        """Start × factor × threshold."""
        return [
            self.form.format(initial=number(10**exponent), factor=factor, threshold=threshold)
            for exponent in (-3.0, -2.0, -1.5)
            for factor in (1.3, 2.0)
            for threshold in (0.02, 0.05, 0.1, 0.2)
        ]


for _family in (Constants(), PullDown(), PullUp(), HalfCosine(), Steps(), Gap()):
    BASELINES.register(_family.name, _family)
