"""How a field of a task varies: constant, one of some values, or a number within a range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from lambda_rl.checks import shown
from lambda_rl.registry import Registry


class Variation(Protocol):
    """How one field of a task varies.

    Attributes:
        numeric: it is for fields that are numbers, and may give any between its ends.
    """

    numeric: ClassVar[bool]

    def draw(self, rng: np.random.Generator, base: Any) -> Any:
        """A value for a task whose base has the value ``base``; whole numbers are rounded by the caller."""

    def ends(self, base: Any) -> tuple[Any, ...]:
        """All values, or the smallest and the largest."""


VARIATIONS: Registry[type[Any]] = Registry("way to vary")
"""Classes of :class:`Variation` by the word that a suite file uses; what stands behind it is the class's argument."""


@VARIATIONS.register("const")
@dataclass(frozen=True)
class Const:
    """Always the same; draws no random number."""

    value: Any
    numeric: ClassVar[bool] = False

    def draw(self, rng: np.random.Generator, base: Any) -> Any:
        """The value."""
        return self.value

    def ends(self, base: Any) -> tuple[Any, ...]:
        """The value."""
        return (self.value,)


@VARIATIONS.register("choice")
@dataclass(frozen=True)
class Choice:
    """One of some values, each as likely.

    Raises:
        ValueError: there are none.
    """

    values: tuple[Any, ...]
    numeric: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Checks that there is something to choose from."""
        if not isinstance(self.values, (list, tuple)) or not self.values:
            raise ValueError(f"must be a list of at least one value, got {shown(self.values)}")
        object.__setattr__(self, "values", tuple(self.values))

    def draw(self, rng: np.random.Generator, base: Any) -> Any:
        """One of the values."""
        return self.values[int(rng.integers(len(self.values)))]

    def ends(self, base: Any) -> tuple[Any, ...]:
        """All values."""
        return self.values


@dataclass(frozen=True)
class _Range:
    """Numbers between two, both included.

    Raises:
        ValueError: not two finite numbers, or the first is above the second.
    """

    limits: tuple[float, float]
    numeric: ClassVar[bool] = True
    least: ClassVar[float] = -math.inf

    def __post_init__(self) -> None:
        """Checks the limits."""
        limits = self.limits
        if not (isinstance(limits, (list, tuple)) and len(limits) == 2 and all(map(is_number, limits))):
            raise ValueError(f"must be two finite numbers, got {shown(limits)}")
        if not self.least < limits[0] <= limits[1]:
            above = " above 0" if self.least == 0.0 else ""
            raise ValueError(f"must be two numbers{above}, the smaller one first, got {shown(limits)}")
        object.__setattr__(self, "limits", tuple(limits))

    def ends(self, base: Any) -> tuple[Any, ...]:
        """The limits."""
        return self.limits


@VARIATIONS.register("uniform")
class Uniform(_Range):
    """Uniform between two numbers."""

    def draw(self, rng: np.random.Generator, base: Any) -> float:
        """A number between the limits."""
        return float(rng.uniform(*self.limits))


@VARIATIONS.register("log-uniform")
class LogUniform(_Range):
    """Uniform in the logarithm between two numbers above 0."""

    least = 0.0

    def draw(self, rng: np.random.Generator, base: Any) -> float:
        """A number between the limits."""
        low, high = self.limits
        return float(math.exp(rng.uniform(math.log(low), math.log(high))))


@VARIATIONS.register("times-log-uniform")
class TimesLogUniform(LogUniform):
    """The base's value times a factor that is uniform in the logarithm between two numbers above 0."""

    def draw(self, rng: np.random.Generator, base: Any) -> float:
        """The base's value times a number between the limits."""
        return float(base * super().draw(rng, base))

    def ends(self, base: Any) -> tuple[Any, ...]:
        """The base's value times each limit."""
        return tuple(base * limit for limit in self.limits)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < 1e300  # also false for NaN
    )
