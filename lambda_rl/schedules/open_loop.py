"""Open-loop schedules: λ as a function of progress alone.

λ is constant within an interval, at the value of the function where the interval begins. So a run of K equal
intervals sees the function at 0, 1/K, …, (K-1)/K: the end value of a pull-down is approached, not reached.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch.optim import Optimizer

from lambda_rl.arguments import real_number
from lambda_rl.schedules.base import Schedule

Optimizers = Optimizer | Sequence[Optimizer] | None
SHAPES: tuple[str, ...] = ("exponential", "linear")


class OpenLoop(Schedule):
    """A function of progress; subclasses define :meth:`at`."""

    def at(self, progress: float) -> float:
        """λ at a share of the run.

        Args:
            progress: in [0, 1].

        Returns:
            λ, before it is clipped to the range.
        """
        raise NotImplementedError

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        assert progress is not None  # needs_progress
        return self.at(progress)


class Constant(OpenLoop):
    """The same λ throughout.

    Args:
        lam: λ, 0 or more.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: not needed.
        lam_range: optional.
    """

    needs_progress = False

    def __init__(
        self,
        lam: float,
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(optimizer, total_steps=total_steps, lam_range=lam_range)
        self.lam = real_number("lam", lam)
        self._config = {"lam": self.lam}
        self._start(self.lam)

    def at(self, progress: float) -> float:
        """The constant."""
        return self.lam

    def _next(self, progress: float | None, signals: dict[str, float]) -> float:
        return self.lam


class Steps(OpenLoop):
    """A list of values, each for an equal share of the run, as [3, 2, 1, 0] in Lu (2017), section 4.

    Args:
        values: λ of each share, 0 or more.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: optimizer steps of the whole run.
        lam_range: optional.
    """

    def __init__(
        self,
        values: Sequence[float],
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(optimizer, total_steps=total_steps, lam_range=lam_range)
        self.values = [real_number("each value of Steps", v) for v in values]
        if not self.values:
            raise ValueError("Steps needs at least one value")
        self._config = {"values": self.values}
        self._start(self.values[0])

    def at(self, progress: float) -> float:
        """The value whose share ``progress`` lies in; a border belongs to the later one."""
        n = len(self.values)
        return self.values[min(int(progress * n + 1e-9), n - 1)]  # 0.3 * 10 is below 3 in floating point


def half_cosine(share: float) -> float:
    """From 1 to 0, flat at both ends."""
    return 0.5 * (1.0 + math.cos(math.pi * share))


def _ends(start: float, end: float, shape: str) -> tuple[float, float]:
    if shape == "linear":
        return real_number("start λ", start), real_number("end λ", end)
    names = (f"{end} λ (the shape is {shape}; that of a linear one may be 0)" for end in ("start", "end"))
    first, last = (
        real_number(name, value, more=True) for name, value in zip(names, (start, end), strict=True)
    )
    return first, last


class _Ramp(OpenLoop):
    """From one λ to another, in a straight line of λ or of log λ."""

    def __init__(
        self,
        start: float,
        end: float,
        shape: str,
        optimizer: Optimizers,
        total_steps: int | None,
        lam_range: tuple[float, float] | None,
    ) -> None:
        super().__init__(optimizer, total_steps=total_steps, lam_range=lam_range)
        if shape not in SHAPES:
            raise ValueError(f"unknown shape {shape!r}; allowed: {', '.join(SHAPES)}")
        self.start, self.end = _ends(start, end, shape)
        self.shape = shape
        self._config = {"start": self.start, "end": self.end, "shape": shape}
        self._start(self.start)

    def at(self, progress: float) -> float:
        """λ on the line from start (0) to end (1)."""
        if self.shape == "linear":
            lam = self.start + (self.end - self.start) * progress
        else:
            lam = self.start * math.exp((math.log(self.end) - math.log(self.start)) * progress)
        return min(max(lam, min(self.start, self.end)), max(self.start, self.end))


class PullDown(_Ramp):
    """Strong at first, then weaker (Lu 2017, section 4).

    Args:
        high: λ at the start.
        low: λ at the end, at most ``high``.
        shape: "exponential" (straight in log λ; both above 0) or "linear".
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: optimizer steps of the whole run.
        lam_range: optional.
    """

    def __init__(
        self,
        high: float,
        low: float,
        shape: str = "exponential",
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] | None = None,
    ) -> None:
        high, low = real_number("high", high), real_number("low", low)
        if high < low:
            raise ValueError(f"PullDown goes from high to low, got high={high} below low={low}; PullUp rises")
        super().__init__(high, low, shape, optimizer, total_steps, lam_range)


class PullUp(_Ramp):
    """Weak at first, then stronger (Lu 2017, section 4).

    Args:
        low: λ at the start.
        high: λ at the end, at least ``low``.
        shape: "exponential" (straight in log λ; both above 0) or "linear".
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: optimizer steps of the whole run.
        lam_range: optional.
    """

    def __init__(
        self,
        low: float,
        high: float,
        shape: str = "exponential",
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] | None = None,
    ) -> None:
        low, high = real_number("low", low), real_number("high", high)
        if high < low:
            raise ValueError(f"PullUp goes from low to high, got high={high} below low={low}; PullDown falls")
        super().__init__(low, high, shape, optimizer, total_steps, lam_range)


class Cosine(OpenLoop):
    """Half a cosine from one λ to another: flat at both ends.

    Args:
        start: λ at the start, 0 or more.
        end: λ at the end, 0 or more.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: optimizer steps of the whole run.
        lam_range: optional.
    """

    def __init__(
        self,
        start: float,
        end: float,
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(optimizer, total_steps=total_steps, lam_range=lam_range)
        self.start, self.end = real_number("start λ", start), real_number("end λ", end)
        self._config = {"start": self.start, "end": self.end}
        self._start(self.start)

    def at(self, progress: float) -> float:
        """λ at a share of the run."""
        weight = half_cosine(progress)
        return weight * self.start + (1.0 - weight) * self.end
