"""How a field of a task varies: constant, one of some values, or a number within a range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from lambda_rl.checks import shown
from lambda_rl.envs.data import data_set, is_generated
from lambda_rl.envs.data.tables import TABLES, TableSize, table_name
from lambda_rl.registry import Registry


class Variation(Protocol):
    """How one field of a task varies.

    Attributes:
        numeric: it is for fields that are numbers, and may give any between its ends.

    A class whose attribute ``fields`` is not empty is for these fields alone.
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


@VARIATIONS.register("tables")
@dataclass(frozen=True)
class Tables:
    """A table to generate (:mod:`lambda_rl.envs.data.tables`), another one for each task.

    ``{kinds: [clusters, tree], inputs: [8, 256], classes: [2, 20], rows: 20000, seeds: [0, 1000000]}``: each kind is as
    likely as it stands there often, inputs and classes are uniform in the logarithm, both ends included, seeds are
    uniform up to the last but one. Where the base names no table, nothing is drawn, and its data stays.

    Raises:
        ValueError: not all of these are there, or not as they should be.
    """

    argument: Mapping[str, Any]
    numeric: ClassVar[bool] = False
    fields: ClassVar[tuple[str, ...]] = ("data",)
    pairs: ClassVar[tuple[str, ...]] = ("inputs", "classes", "seeds")

    def __post_init__(self) -> None:
        """Checks all that can be drawn by its ends."""
        given = self.argument
        if not isinstance(given, Mapping) or set(given) != {"kinds", "rows", *self.pairs}:
            raise ValueError(
                f"must be a mapping of kinds, inputs, classes, rows and seeds, got {shown(given)}"
            )
        for name in self.pairs:
            pair = given[name]
            good = isinstance(pair, (list, tuple)) and len(pair) == 2 and all(type(n) is int for n in pair)
            if not good or not 0 <= pair[0] <= pair[1]:
                raise ValueError(
                    f"{name} must be two whole numbers, the smaller one first, got {shown(pair)}"
                )
        if given["seeds"][0] == given["seeds"][1]:
            raise ValueError(f"seeds must be two numbers that differ, got {shown(given['seeds'])}")
        kinds = given["kinds"]
        if not isinstance(kinds, (list, tuple)) or not kinds:
            raise ValueError(f"kinds must be some of {', '.join(TABLES)}, got {shown(kinds)}")
        for kind in kinds:
            for name in self._ends(kind):
                data_set(name)

    def _ends(self, kind: str) -> tuple[str, str]:
        """The smallest and the largest table of a kind."""
        inputs, classes, rows = (self.argument[name] for name in ("inputs", "classes", "rows"))
        low, high = (TableSize(inputs[end], classes[end], rows) for end in (0, 1))
        seeds = self.argument["seeds"]
        return table_name(kind, low, seeds[0]), table_name(kind, high, seeds[1] - 1)

    def draw(self, rng: np.random.Generator, base: Any) -> Any:
        """The name of a table."""
        if not is_generated(base):
            return base
        kind = self.argument["kinds"][int(rng.integers(len(self.argument["kinds"])))]
        inputs, classes = (
            round(LogUniform(self.argument[name]).draw(rng, base)) for name in ("inputs", "classes")
        )
        seed = int(rng.integers(*self.argument["seeds"]))
        return table_name(kind, TableSize(inputs, classes, self.argument["rows"]), seed)

    def ends(self, base: Any) -> tuple[Any, ...]:
        """The smallest and the largest table, of the first kind: the others have the same sizes."""
        return self._ends(self.argument["kinds"][0]) if is_generated(base) else (base,)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) < 1e300  # also false for NaN
    )
