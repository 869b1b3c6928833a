"""The few operations that the features and the control law are made of, on plain numbers and on arrays alike.

A formula written with them exists once and serves both: arrays where many runs are observed together, plain numbers
where there is one, in a user's loop, and the cost of a numpy call would be most of the cost of a decision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Value = float | Array
"""One number, or an array of a number for each run."""
V = TypeVar("V", float, Array)


class Ops(NamedTuple):
    """Operations on one kind of value.

    Attributes:
        log10: of values above 0; NaN and infinity stay what they are.
        at_least: (value, bound) → the larger one; a NaN stays.
        at_most: (value, bound) → the smaller one; a NaN stays.
        if_nan: (value, instead) → ``instead`` where the value is NaN.
        if_not_finite: (value, instead) → ``instead`` where the value is NaN or infinite.
        where: (condition, value, otherwise) → the value where the condition holds. Both are computed.
    """

    log10: Callable[[Any], Any]
    at_least: Callable[[Any, Any], Any]
    at_most: Callable[[Any, Any], Any]
    if_nan: Callable[[Any, Any], Any]
    if_not_finite: Callable[[Any, Any], Any]
    where: Callable[[Any, Any, Any], Any]

    def clip(self, value: Any, low: float, high: float) -> Any:
        """Into [low, high]; a NaN stays."""
        # np.clip costs several times as much on a few numbers
        return self.at_most(self.at_least(value, low), high)


# Of a NaN and a number, Python's max and min give the first, so the value has to come first.
NUMBERS = Ops(
    log10=math.log10,
    at_least=max,
    at_most=min,
    if_nan=lambda value, instead: instead if math.isnan(value) else value,
    if_not_finite=lambda value, instead: value if math.isfinite(value) else instead,
    where=lambda condition, value, otherwise: value if condition else otherwise,
)
ARRAYS = Ops(
    log10=np.log10,
    at_least=np.maximum,
    at_most=np.minimum,
    if_nan=lambda value, instead: np.where(np.isnan(value), instead, value),
    if_not_finite=lambda value, instead: np.where(np.isfinite(value), value, instead),
    where=np.where,
)
EXACT_ARRAYS = ARRAYS._replace(log10=lambda value: np.array([math.log10(one) for one in value.tolist()]))
"""Those of arrays ``[n]``, with the logarithms of plain numbers: numpy's may differ from them in the last bit."""


def ops_of(value: Any) -> Ops:
    """The operations for a value: those of plain numbers for a ``float``, else those of arrays."""
    return NUMBERS if type(value) is float else ARRAYS
