"""The card of a policy: what it is, where it comes from, and whether this version of lambda_rl can use it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from lambda_rl.control import ControlLaw
from lambda_rl.features import FEATURES, FEATURES_VERSION
from lambda_rl.penalties import PENALTIES

FORMAT_VERSION = 1
"""Raised whenever an older program could misread a newer file."""

LAM_MEANINGS: tuple[str, ...] = ("coupled", "decoupled", "any")
"""What λ may mean for a policy; "any": it was trained with both."""


@dataclass(frozen=True)
class PolicyCard:
    """What a policy is and where it comes from.

    Attributes:
        max_change: log₁₀ λ added by an action of 1, decades.
        log_lam_min: log₁₀ of the smallest λ.
        log_lam_max: log₁₀ of the largest λ.
        lam_meaning: one of :data:`LAM_MEANINGS`, see "What λ means" in the README.
        penalty: the penalty that λ stands before, one of ``lambda_rl.PENALTIES``, or "any".
        decisions: decisions in a run as it was trained (the interval is a run's steps over it).
        suite: training suite.
        data: training data.
        commit: of the code that trained it.
        command: that trained it.
        results: measured results, any JSON.
        initial_lam: λ to start from if the user names none; None: the geometric middle of the range.
        features: names of the observation's entries, in order.
        features_version: version of their meaning.
        format_version: of the file.
        notes: what it is good for and when not to use it.
    """

    max_change: float
    log_lam_min: float
    log_lam_max: float
    lam_meaning: str = "coupled"
    penalty: str = "l2"
    decisions: int = 20
    suite: str = ""
    data: str = ""
    commit: str = ""
    command: str = ""
    results: dict[str, Any] = field(default_factory=dict)
    initial_lam: float | None = None
    features: tuple[str, ...] = FEATURES
    features_version: int = FEATURES_VERSION
    format_version: int = FORMAT_VERSION
    notes: str = ""

    @property
    def control(self) -> ControlLaw:
        """The control law that turns the policy's actions into λ."""
        return ControlLaw(self.log_lam_min, self.log_lam_max, self.max_change)

    def check(self) -> None:
        """Raises a ``ValueError`` if anything is not as this version of lambda_rl needs it."""
        if self.format_version != FORMAT_VERSION:
            raise ValueError(
                f"format version {self.format_version!r} is not known; this lambda_rl reads {FORMAT_VERSION}"
            )
        unknown = [name for name in self.features if name not in FEATURES]
        missing = [name for name in FEATURES if name not in self.features]
        if unknown or missing:
            raise ValueError(
                "feature list differs from this lambda_rl's: "
                f"unknown {', '.join(map(repr, unknown)) or 'none'}; missing {', '.join(map(repr, missing)) or 'none'}"
            )
        if tuple(self.features) != FEATURES:
            raise ValueError(
                f"features are in another order than this lambda_rl's: {', '.join(self.features)}"
            )
        if self.features_version != FEATURES_VERSION:
            raise ValueError(
                f"features version {self.features_version!r} is not known; this lambda_rl has {FEATURES_VERSION}"
            )
        control = self.control  # refuses a reversed range
        if self.lam_meaning not in LAM_MEANINGS:
            raise ValueError(f"unknown lam_meaning {self.lam_meaning!r}; allowed: {', '.join(LAM_MEANINGS)}")
        if self.penalty not in (*PENALTIES, "any"):
            raise ValueError(f"unknown penalty {self.penalty!r}; allowed: {', '.join(PENALTIES)}, any")
        if self.decisions < 1:
            raise ValueError(f"decisions must be 1 or more, got {self.decisions}")
        if self.initial_lam is not None and not (
            self.initial_lam > 0
            and control.log_lam_min - 1e-9 <= math.log10(self.initial_lam) <= control.log_lam_max + 1e-9
        ):
            raise ValueError(f"initial_lam {self.initial_lam} lies outside the λ range of the policy")

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {**asdict(self), "features": list(self.features)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PolicyCard:
        """From plain values; checks names and types, then :meth:`check`.

        Raises:
            ValueError: a key is missing or unknown, a value is of the wrong type, or :meth:`check` fails.
        """
        # The version first: a newer file may well have other keys, and the version is what explains them.
        version = values.get("format_version")
        if version != FORMAT_VERSION:
            told = "is missing" if version is None else f"{version!r} is not known"
            raise ValueError(f"format version {told}; this lambda_rl reads {FORMAT_VERSION}")
        names = [item.name for item in fields(cls)]
        missing = [name for name in names if name not in values]
        unknown = [name for name in values if name not in names]
        if missing or unknown:
            raise ValueError(
                f"card: missing keys {', '.join(missing) or 'none'}; unknown keys {', '.join(unknown) or 'none'}"
            )
        kinds: dict[str, type | tuple[type, ...]] = {
            "results": dict,
            "features": (list, tuple),
            "initial_lam": (int, float, type(None)),
            **dict.fromkeys(("max_change", "log_lam_min", "log_lam_max"), (int, float)),
            **dict.fromkeys(("decisions", "features_version", "format_version"), int),
        }
        for name in names:
            kind = kinds.get(name, str)
            if not isinstance(values[name], kind) or isinstance(values[name], bool):
                raise ValueError(f"card: {name} has the wrong type: {values[name]!r}")
        card = cls(**{**values, "features": tuple(values["features"])})
        card.check()
        return card
