"""What a feature is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lambda_rl.control import ControlLaw
from lambda_rl.observation.signals import Signals
from lambda_rl.ops import Ops, Value

__all__ = ["Value", "Values", "View"]

Values = Mapping[str, Value]


class View(NamedTuple):
    """What a feature is computed from. All are plain floats of one run, or arrays of n runs.

    Attributes:
        signals: as measured.
        now: the levels and memories of this decision, scale-free and finite.
        before: those of the last decision; at the first one, those of the start.
        run: what was known before the run (see :func:`lambda_rl.observation.facts.constants`).
        control: gives the range of λ.
        ops: operations on this kind of value.
    """

    signals: Signals[Any]
    now: Values
    before: Values
    run: Values
    control: ControlLaw
    ops: Ops
