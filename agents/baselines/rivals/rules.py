"""Families of the rules of :mod:`lambda_rl.schedules.rules`, with the settings that they are tuned over."""

from __future__ import annotations

from typing import ClassVar

from lambda_rl.agents.baselines.families import BASELINES, Baseline, decades, number

_LEVELS = decades(-4.0, 0.0, 0.5)
_FEW_LEVELS = (-4.0, -3.0, -2.0, -1.5, -1.0, -0.5)  # log10, as of the ramps
_SHARES = (0.25, 0.5, 0.75)


class Rival(Baseline):
    """A family that takes part where it is named."""

    by_default: ClassVar[bool] = False


class ToZero(Rival):
    """λ falls to 0, as nanochat has it (F4)."""

    name = "to-zero"
    form = "to-zero:{},{}"
    untuned = "to-zero:0.01"

    def grid(self) -> list[str]:
        """Height × ending."""
        return [self.form.format(lam, ending) for lam in _LEVELS for ending in ("cosine", "linear")]


class FlatThenCosine(Rival):
    """λ, then half a cosine to 0, as RealMLP has it (F5)."""

    name = "flat-cosine"
    form = "flat-cosine:{},{:g}"
    untuned = "flat-cosine:0.01"

    def grid(self) -> list[str]:
        """Height × share that is flat."""
        return [self.form.format(lam, flat) for lam in _LEVELS for flat in (0.25, 0.5)]


class _Window(Rival):
    """λ in a part of the run (F15)."""

    def grid(self) -> list[str]:
        """Height × share."""
        return [
            self.form.format(number(10**exponent), share) for exponent in _FEW_LEVELS for share in _SHARES
        ]


class Early(_Window):
    """λ in the first part of the run."""

    name = "early-only"
    form = "early-only:{},{:g}"
    untuned = "early-only:0.01,0.5"


class Late(_Window):
    """λ in the last part of the run."""

    name = "late-only"
    form = "late-only:{},{:g}"
    untuned = "late-only:0.01,0.5"


class _OneNumber(Rival):
    """A rule of one number."""

    numbers: ClassVar[tuple[str, ...]]

    def grid(self) -> list[str]:
        """All numbers."""
        return [self.form.format(value) for value in self.numbers]


class AdamC(_OneNumber):
    """λ ∝ learning rate (F3)."""

    name = "adamc"
    form = "adamc:{}"
    untuned = "adamc:0.01"
    numbers = decades(-4.0, 0.0, 0.25)


class Adaptive(_OneNumber):
    """λ ∝ norm of the gradient over norm of the weights (F8)."""

    name = "awd"
    form = "awd:{}"
    untuned = "awd:0.02"
    numbers = decades(-3.0, 1.0, 0.25)


class Stable(_OneNumber):
    """λ over the root of Adam's mean second moment (F12); a constant for SGD."""

    name = "swd"
    form = "swd:{}"
    untuned = "swd:0.0005"
    numbers = decades(-6.0, 0.0, 0.4)


class OnPlateau(Rival):
    """λ falls, or rises, when the validation loss has stopped falling."""

    name = "plateau"
    form = "plateau:initial={},factor={:g},patience={}"
    untuned = "plateau:initial=0.01,factor=0.3"

    def grid(self) -> list[str]:
        """Start × factor × patience."""
        return [
            self.form.format(number(10**exponent), factor, patience)
            for exponent in (-3.0, -2.0, -1.0)
            for factor in (0.3, 3.0)
            for patience in (0, 1, 3)
        ]


class Descent(Rival):
    """λ down the gradient of the validation loss with respect to it: T1–T2 (F14)."""

    name = "hypergradient"
    form = "hypergradient:initial={},rate={:g}"
    untuned = "hypergradient:initial=0.01,rate=3"

    def grid(self) -> list[str]:
        """Start × rate."""
        return [
            self.form.format(number(10**exponent), rate)
            for exponent in (-3.0, -2.0, -1.0)
            for rate in (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
        ]


for _family in (
    ToZero(), FlatThenCosine(), Early(), Late(), AdamC(), OnPlateau(), Adaptive(), Stable(), Descent(),
):  # fmt: skip
    BASELINES.register(_family.name, _family)
