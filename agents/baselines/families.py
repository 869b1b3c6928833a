"""Families of baselines: what each brings, and the registry of all."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol

import numpy as np

from lambda_rl import ScheduleFactory, parse_schedule
from lambda_rl.agents.baselines.contestant import Contestant, ScheduleContestant
from lambda_rl.agents.baselines.fingerprints import file_fingerprint
from lambda_rl.registry import Registry

CONSTANT_GRID: tuple[float, ...] = tuple(float(f"{10.0 ** (k / 2):.3g}") for k in range(-10, 2))
"""Half decades from 10^-5 to 10^0.5, rounded to three digits, as their names show them."""

HAND_DESIGNED = "hand-designed"
CONSTANT = "constant"


class Search(Protocol):
    """What proposes settings one batch after the other, in the light of what the earlier ones came to."""

    def ask(self) -> list[str]:
        """The settings to try next, as text; none when it is over."""

    def tell(self, scores: Mapping[str, float]) -> None:
        """The scores of those asked for last, by their text; more is better."""


class Baseline(ABC):
    """A family of competitors that differ by their settings; one of these settings takes part in a comparison.

    To add one, write a class with ``name``, ``untuned`` and ``grid``, and register an instance of it in
    :data:`BASELINES`. A family of schedules of its own overrides :meth:`make`; one that is no schedule (a search, a
    population) overrides :meth:`contestant`.

    Attributes:
        name: of the family, in tables; the text of its settings begins with it.
        kind: ``hand-designed``, or ``constant``.
        form: how a setting is written, to be filled in with ``str.format``.
        untuned: the setting that takes part when there is no tuning: plausible, but no result should be claimed
            against it.
        by_default: whether it takes part in comparisons that name no families.
    """

    name: ClassVar[str]
    kind: ClassVar[str] = HAND_DESIGNED
    form: ClassVar[str] = ""
    untuned: ClassVar[str]
    by_default: ClassVar[bool] = True

    def grid(self) -> list[str]:
        """All settings that it is tuned over; none: it is not tuned."""
        return []

    def search(self) -> Search | None:
        """A fresh search for the setting, in place of the grid; None: there is none."""
        return None

    @property
    def tunable(self) -> bool:
        """Whether there is anything to tune."""
        return bool(self.settings()) or type(self).search is not Baseline.search

    def settings(self, constants: Sequence[float] = CONSTANT_GRID, most: int = 0) -> list[str]:
        """The settings that it is tuned over.

        Args:
            constants: the grid of constants.
            most: at most so many, spread over the grid, for a quick look; 0: all.
        """
        specs = self.grid()
        if not 0 < most < len(specs):
            return specs
        chosen = np.linspace(0, len(specs) - 1, most + 2).round().astype(int)[1:-1]
        return [specs[index] for index in chosen]

    def make(self, spec: str) -> ScheduleFactory:
        """What makes schedules of a setting.

        Raises:
            ValueError: no such setting.
        """
        return parse_schedule(spec)

    def contestant(self, spec: str, name: str = "") -> Contestant:
        """A setting as one who takes part.

        Args:
            spec: the setting.
            name: in tables; empty: the family's.
        """
        return ScheduleContestant(
            name or self.name, self.kind, spec, self.make(spec), file_fingerprint(spec)
        )  # fmt: skip


BASELINES: Registry[Baseline] = Registry("baseline")
"""All families by name. The order is that of tables and colours."""


def hand_designed_families() -> tuple[str, ...]:
    """Names of the families that take part unless some are chosen."""
    return tuple(name for name in families_to_choose() if BASELINES[name].by_default)


def families_to_choose() -> tuple[str, ...]:
    """Names of all families but the constants, which always take part."""
    return tuple(name for name, family in BASELINES.items() if family.kind != CONSTANT)


def family_of(spec: str) -> Baseline | None:
    """The family that a setting's text belongs to; None if it is of no family, as a replayed trace."""
    name = spec.partition(":")[0].strip()
    return BASELINES.get(name) if name in BASELINES else None


def make_schedule(spec: str) -> ScheduleFactory:
    """What makes schedules of a text, a family's or any that :func:`lambda_rl.parse_schedule` knows."""
    family = family_of(spec)
    return parse_schedule(spec) if family is None else family.make(spec)


def number(value: float) -> str:
    """A λ as it stands in texts and names: three digits."""
    return f"{value:.3g}"


def decades(low: float, high: float, step: float) -> tuple[str, ...]:
    """Numbers from 10^low to 10^high as they stand in texts, ``step`` decades from one to the next."""
    count = round((high - low) / step)
    return tuple(number(10.0 ** (low + step * k)) for k in range(count + 1))


def check_constants(constants: Sequence[float]) -> list[float]:
    """The grid, sorted, without doubles; refuses an empty one and values that no λ can have."""
    if not constants:
        raise ValueError("the grid of constants is empty")
    for value in constants:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"constants must be finite and 0 or more, got {value}")
    return sorted({float(number(value)) for value in constants})
