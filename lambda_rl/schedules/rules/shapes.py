"""Further open-loop shapes: λ times a function of progress, and a line through knots."""

from __future__ import annotations

from collections.abc import Sequence

from lambda_rl.arguments import real_number
from lambda_rl.schedules.open_loop import OpenLoop, Optimizers, half_cosine

ENDINGS: tuple[str, ...] = ("cosine", "linear")


class _Scaled(OpenLoop):
    """λ times :meth:`weight`; a subclass sets what that needs before it calls this."""

    def __init__(
        self,
        lam: float,
        optimizer: Optimizers,
        total_steps: int | None,
        lam_range: tuple[float, float] | None,
        **options: float | str,
    ) -> None:
        super().__init__(optimizer, total_steps=total_steps, lam_range=lam_range)
        self.lam = real_number("lam", lam)
        self._config = {"lam": self.lam, **options}
        self._start(self.at(0.0))

    def at(self, progress: float) -> float:
        """λ at a share of the run."""
        return self.lam * self.weight(progress)

    def weight(self, progress: float) -> float:
        """What λ is multiplied by."""
        raise NotImplementedError


class DecayToZero(_Scaled):
    """λ falls to 0: ½(1 + cos π·progress) as nanochat has it (karpathy/nanochat, scripts/base_train.py), or linearly.

    Args:
        lam: λ at the start, 0 or more.
        ending: "cosine" or "linear".
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: optimizer steps of the whole run.
        lam_range: optional.
    """

    def __init__(
        self,
        lam: float,
        ending: str = "cosine",
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] | None = None,
    ) -> None:
        if ending not in ENDINGS:
            raise ValueError(f"unknown ending {ending!r}; allowed: {', '.join(ENDINGS)}")
        self.ending = ending
        super().__init__(lam, optimizer, total_steps, lam_range, ending=ending)

    def weight(self, progress: float) -> float:
        """From 1 to 0."""
        progress = min(progress, 1.0)
        return half_cosine(progress) if self.ending == "cosine" else 1.0 - progress


class FlatCosine(_Scaled):
    """λ for a first share of the run, then half a cosine to 0 (RealMLP: Holzmüller et al. 2024, in pytabkit).

    Args:
        lam: λ of the flat part, 0 or more.
        flat: share of the run that is flat, 0 or more and below 1.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: optimizer steps of the whole run.
        lam_range: optional.
    """

    def __init__(
        self,
        lam: float,
        flat: float = 0.5,
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] | None = None,
    ) -> None:
        self.flat = _share("flat", flat)
        super().__init__(lam, optimizer, total_steps, lam_range, flat=self.flat)

    def weight(self, progress: float) -> float:
        """1, then from 1 to 0."""
        falling = (progress - self.flat) / (1.0 - self.flat)
        return 1.0 if progress <= self.flat else half_cosine(min(falling, 1.0))


class _Window(_Scaled):
    """λ in a share of the run alone.

    Args:
        lam: λ, 0 or more.
        share: of the run in which it acts, 0 or more and below 1.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: optimizer steps of the whole run.
        lam_range: optional.
    """

    def __init__(
        self,
        lam: float,
        share: float = 0.5,
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] | None = None,
    ) -> None:
        self.share = _share("share", share)
        super().__init__(lam, optimizer, total_steps, lam_range, share=self.share)


class EarlyOnly(_Window):
    """λ in a first share of the run, then none (Golatkar, Achille & Soatto 2019, arXiv 1905.13277).

    Args:
        lam: λ, 0 or more.
        share: of the run in which it acts, 0 or more and below 1.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: optimizer steps of the whole run.
        lam_range: optional.
    """

    def weight(self, progress: float) -> float:
        """1, then 0; an interval belongs to where it begins."""
        return 1.0 if progress < self.share - 1e-9 else 0.0


class LateOnly(_Window):
    """No λ at first, then λ in a last share of the run: the reverse of :class:`EarlyOnly`, which shows when λ matters.

    Args:
        lam: λ, 0 or more.
        share: of the run in which it acts, 0 or more and below 1.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: optimizer steps of the whole run.
        lam_range: optional.
    """

    def weight(self, progress: float) -> float:
        """0, then 1; an interval belongs to where it begins."""
        return 0.0 if progress < 1.0 - self.share - 1e-9 else 1.0


class Knots(OpenLoop):
    """A line in log λ through knots at equal distances; what a search for an open-loop schedule moves.

    Args:
        lams: λ at each knot, above 0, the first at the start of the run and the last at its end; one is a constant.
        optimizer: see :class:`~lambda_rl.schedules.base.Schedule`, as the next two.
        total_steps: optimizer steps of the whole run.
        lam_range: optional.
    """

    def __init__(
        self,
        lams: Sequence[float],
        optimizer: Optimizers = None,
        *,
        total_steps: int | None = None,
        lam_range: tuple[float, float] | None = None,
    ) -> None:
        super().__init__(optimizer, total_steps=total_steps, lam_range=lam_range)
        self.lams = [real_number("each knot", lam, more=True) for lam in lams]
        if not self.lams:
            raise ValueError("Knots needs at least one value")
        self._config = {"lams": self.lams}
        self._start(self.lams[0])

    def at(self, progress: float) -> float:
        """λ on the line between the two knots around ``progress``."""
        place = min(progress, 1.0) * (len(self.lams) - 1)
        left = min(int(place), len(self.lams) - 1)
        right = min(left + 1, len(self.lams) - 1)
        share = place - left
        return float(self.lams[left] ** (1.0 - share) * self.lams[right] ** share)


def _share(name: str, value: float) -> float:
    number = real_number(name, value)
    if number >= 1.0:
        raise ValueError(f"{name} must be a share of the run, 0 or more and below 1, got {number:g}")
    return number
