"""Checks of what comes from outside, and ways to show it: short, on one line, without control characters."""

from __future__ import annotations

import difflib
import numbers
import reprlib
from collections.abc import Iterable
from typing import Any

_SHOWN = 80  # characters of a value in a message
_LISTED = 8  # names in a message


class _Short(reprlib.Repr):
    """Of large and deep values only the beginning, found without a look at the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = self.maxlist = self.maxtuple = self.maxset = self.maxdict = 3
        self.maxstring = self.maxother = _SHOWN

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write whole numbers of more than some thousand digits."""
        return repr(x) if x.bit_length() < 256 else f"a whole number of {x.bit_length()} bits"


_short = _Short()


def shown(value: Any) -> str:
    """The ``repr`` of a value for a message, cut to 80 characters; of deep and large values only the beginning."""
    return cut(_short.repr(value), _SHOWN)


def cut(text: str, length: int) -> str:
    """A text, ending in … if it was longer than ``length`` characters."""
    return text if len(text) <= length else text[: length - 1] + "…"


def listed(names: Iterable[object]) -> str:
    """Names for a message: "a, b, c", "none" if there are none; long names and long lists are cut."""
    texts = [printable(cut(str(name), _SHOWN // 2)) for name in names]
    more = [f"and {len(texts) - _LISTED} more"] if len(texts) > _LISTED else []
    return ", ".join([*texts[:_LISTED], *more]) or "none"


def did_you_mean(name: object, names: Iterable[object]) -> str:
    """The end of a message about an unknown name: "; did you mean 'mlp'?", or nothing if no other name is like it."""
    if not isinstance(name, str):
        return ""
    close = difflib.get_close_matches(name[:_SHOWN], [str(other) for other in names if other != name], n=1)
    return f"; did you mean {shown(close[0])}?" if close else ""


def printable(text: str, keep: str = "") -> str:
    """A text that does nothing to a terminal but to show letters.

    Args:
        text: of foreign origin.
        keep: characters that may stay though they are not printable, such as the newline.

    Returns:
        The text with a blank for other kinds of white space, and "�" for control characters, marks of direction
        and whatever else ``str.isprintable`` denies.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else " " if c.isspace() else "�" for c in text)


def bounded(what: str, value: Any, low: float, high: float) -> float:
    """A number as a float, if it lies within [low, high].

    Raises:
        ValueError: it does not, or is not a number; begins with ``what``.
    """
    if _is_a(value, numbers.Real) and low <= value <= high:
        return float(value)
    raise ValueError(f"{what} must be a number from {low:g} to {high:g}, got {shown(value)}")


def bounded_int(what: str, value: Any, low: int, high: int) -> int:
    """A whole number as an int, if it lies within [low, high].

    Raises:
        ValueError: it does not, or is not a whole number; begins with ``what``.
    """
    if _is_a(value, numbers.Integral) and low <= value <= high:
        return int(value)
    raise ValueError(f"{what} must be a whole number from {low} to {high}, got {shown(value)}")


def _is_a(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and type(value) is not bool


def nested_beyond(value: Any, depth: int) -> bool:
    """Whether lists and objects of JSON lie within each other more than ``depth`` deep; without recursion."""
    level = [value]
    for _ in range(depth):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list, tuple))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(inner, (dict, list, tuple)) for inner in level)
