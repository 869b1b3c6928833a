"""Numbers that a user gives, of whatever library, as plain ones; what is none, or out of range, is refused by name."""

from __future__ import annotations

import contextlib
import math
import operator
from typing import Any

from lambda_rl.checks import shown

LARGEST = 2**53
"""Whole numbers up to this one are exact as floats."""


def plain_number(value: Any) -> int | float | None:
    """A number as Python's own; None if it is none.

    Args:
        value: of Python, numpy or torch; text and truth values are no numbers.
    """
    if isinstance(value, (bool, str, bytes, bytearray)):
        return None
    for convert in (operator.index, float):
        # A RuntimeError comes from tensors that cannot be read.
        with contextlib.suppress(TypeError, ValueError, OverflowError, RuntimeError):
            return convert(value)
    return None


def whole_number(name: str, value: Any, least: int = 1) -> int:
    """A whole number as an ``int``, which JSON can hold.

    Args:
        name: for the message.
        value: an integer of any library, or a float without a fraction.
        least: the smallest that is allowed.

    Raises:
        ValueError: it is no whole number, or not within ``least`` and :data:`LARGEST`.
    """
    number = plain_number(value)
    if number is None or not least <= number <= LARGEST or number != int(number):
        raise ValueError(
            f"{name} must be a whole number of {least} or more (at most 2^53), got {shown(value)}"
        )
    return int(number)


def real_number(name: str, value: Any, least: float = 0.0, *, more: bool = False) -> float:
    """A finite number as a ``float``.

    Args:
        name: for the message.
        value: a number of any library.
        least: the smallest that is allowed; minus infinity for any.
        more: the smallest itself is not allowed.

    Raises:
        ValueError: it is no number, not finite, or too small.
    """
    number = plain_number(value)
    try:
        real = math.nan if number is None else float(number)
    except OverflowError:
        real = math.nan
    if not math.isfinite(real) or real < least or (more and real == least):
        bound = f" and above {least:g}" if more else f" and {least:g} or more" if least > -math.inf else ""
        raise ValueError(f"{name} must be finite{bound}, got {shown(value)}")
    return real
