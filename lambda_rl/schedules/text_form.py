"""Schedules out of a line of text, as the command line has them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_rl.policy.file import load_policy
from lambda_rl.policy.meaning import LAM_MEANINGS_TOLD
from lambda_rl.schedules.base import Schedule
from lambda_rl.schedules.gap_rule import GapRule
from lambda_rl.schedules.learned import LearnedSchedule
from lambda_rl.schedules.open_loop import Constant, Cosine, PullDown, PullUp, Steps
from lambda_rl.schedules.replay import ReplaySchedule
from lambda_rl.schedules.rules.feedback import Plateau, ProportionalToRate
from lambda_rl.schedules.rules.gradient_rules import AdaptiveDecay, Hypergradient, StableDecay
from lambda_rl.schedules.rules.shapes import DecayToZero, EarlyOnly, FlatCosine, Knots, LateOnly

ScheduleFactory = Callable[..., Schedule]
"""Called as ``factory(optimizer=None, **context)``, see :func:`parse_schedule`."""

SCHEDULE_FORMS: dict[str, str] = {
    "constant": "constant:0.01",
    "steps": "steps:3,2,1,0",
    "pull-down": "pull-down:HIGH,LOW[,exponential|linear]",
    "pull-up": "pull-up:LOW,HIGH[,exponential|linear]",
    "cosine": "cosine:START,END",
    "to-zero": "to-zero:0.01[,cosine|linear]",
    "flat-cosine": "flat-cosine:0.01[,0.5]",
    "early-only": "early-only:0.01,0.5",
    "late-only": "late-only:0.01,0.5",
    "knots": "knots:0.1,0.03,0.01",
    "adamc": "adamc:0.01",
    "gap": "gap[:initial=0.01,factor=2,threshold=0.05,low_threshold=0.0125]",
    "plateau": "plateau[:initial=0.01,factor=0.3,patience=1,threshold=0.0001]",
    "awd": "awd:0.02",
    "swd": "swd:0.0005",
    "hypergradient": "hypergradient[:initial=0.01,rate=1,on=val|train]",
    "replay": "replay:FILE.csv",
    "learned": "learned[:FILE.safetensors or a shipped policy's name][,lam_meaning=convert]",
}
"""The names of schedules, and how each is written."""

Reader = Callable[[str], Any]
"""From a word of a specification to a value."""


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text.strip()!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{text.strip()!r} is not a finite number")
    return number


@dataclass(frozen=True)
class _Listed:
    """A form of values: so many numbers, then perhaps one value more. Of those of any length the numbers are a list."""

    kind: ScheduleFactory
    numbers: int = 1
    last: Reader | None = None
    any_length: bool = False

    def factory(self, rest: str) -> ScheduleFactory:
        words = rest.split(",")
        if self.any_length:
            return _open_loop(self.kind, (list(map(_number, words)),))
        last = (self.last(words.pop()),) if self.last and len(words) == self.numbers + 1 else ()
        if len(words) != self.numbers:
            raise ValueError(f"{len(words)} values where {self.numbers} belong")
        return _open_loop(self.kind, (*map(_number, words), *last))


@dataclass(frozen=True)
class _Named:
    """A form of options, each ``name=value``; ``told`` is what it takes of the context beside ``total_steps``."""

    kind: ScheduleFactory
    options: Mapping[str, Reader]
    told: tuple[str, ...] = ("lam_range",)

    def factory(self, rest: str) -> ScheduleFactory:
        options: dict[str, Any] = {}
        for word in rest.split(",") if rest else ():
            key, equals, value = word.partition("=")
            key = key.strip()
            if not equals or key not in self.options:
                raise ValueError(
                    f"unknown option {word.strip()!r}; allowed: {', '.join(self.options)}, as name=number"
                )
            if key in options:
                raise ValueError(f"option {key} given twice")
            options[key] = self.options[key](value)

        def factory(optimizer: Any = None, **context: Any) -> Schedule:
            told = {key: context[key] for key in self.told if context.get(key) is not None}
            return self.kind(**options, optimizer=optimizer, total_steps=context.get("total_steps"), **told)

        return factory


def _numbers(*names: str) -> dict[str, Reader]:
    return dict.fromkeys(names, _number)


_FORMS: dict[str, _Listed | _Named] = {
    "constant": _Listed(Constant),
    "steps": _Listed(Steps, any_length=True),
    "pull-down": _Listed(PullDown, 2, str.strip),
    "pull-up": _Listed(PullUp, 2, str.strip),
    "cosine": _Listed(Cosine, 2),
    "to-zero": _Listed(DecayToZero, 1, str.strip),
    "flat-cosine": _Listed(FlatCosine, 1, _number),
    "early-only": _Listed(EarlyOnly, 2),
    "late-only": _Listed(LateOnly, 2),
    "knots": _Listed(Knots, any_length=True),
    "adamc": _Listed(ProportionalToRate),
    "gap": _Named(GapRule, _numbers("initial", "factor", "threshold", "low_threshold")),
    "plateau": _Named(Plateau, _numbers("initial", "factor", "patience", "threshold")),
    "awd": _Listed(AdaptiveDecay),
    "swd": _Listed(StableDecay),
    "hypergradient": _Named(
        Hypergradient, {**_numbers("initial", "rate"), "on": str.strip}, ("lam_range", "facts")
    ),
}
_LEARNED_CONTEXT = [
    name
    for name in inspect.signature(LearnedSchedule).parameters
    if name not in ("optimizer", "policy", "total_steps")
]


def parse_schedule(spec: str) -> ScheduleFactory:
    """Reads a schedule's specification.

    Args:
        spec: one of the forms in :data:`SCHEDULE_FORMS`.

    Returns:
        A factory ``(optimizer=None, **context) -> Schedule``, which may be called many times; files are read
        here, once. The context may hold ``total_steps``, ``lam_range`` and the options of
        :class:`~lambda_rl.LearnedSchedule`; a schedule takes what it needs and leaves the rest.

    Raises:
        ValueError: unknown name (all names are listed), or arguments of another form (the form is shown).
        PolicyFileError: a policy file that cannot be used.
        FileNotFoundError: a trace that does not exist.
    """
    name, colon, rest = spec.strip().partition(":")
    if name not in SCHEDULE_FORMS:
        raise ValueError(f"unknown schedule {name!r}; allowed: {', '.join(SCHEDULE_FORMS.values())}")
    rest = rest.strip()
    if not rest and (colon or isinstance(_FORMS.get(name), _Listed) or name == "replay"):
        raise ValueError(f"schedule {spec!r} has no arguments; expected {SCHEDULE_FORMS[name]}")
    if name == "learned":
        return _learned(rest)
    if name == "replay":
        return _open_loop(ReplaySchedule, (ReplaySchedule(Path(rest).expanduser()).rows,))
    try:
        factory = _FORMS[name].factory(rest)
        factory()  # checks the values now, not when a run starts
    except ValueError as error:
        raise ValueError(f"schedule {spec!r}: {error}; expected {SCHEDULE_FORMS[name]}") from None
    return factory


def _open_loop(kind: ScheduleFactory, arguments: tuple[Any, ...]) -> ScheduleFactory:
    def factory(optimizer: Any = None, **context: Any) -> Schedule:
        # An open-loop schedule is what its author wrote: a range meant for feedback does not clip it.
        return kind(*arguments, optimizer=optimizer, total_steps=context.get("total_steps"))

    return factory


def _learned(rest: str) -> ScheduleFactory:
    # A path may hold commas and equals signs; only this one option is told apart from it.
    path, _, meaning = rest.rpartition("lam_meaning=")
    fixed = {"lam_meaning": meaning.strip()} if path or rest.startswith("lam_meaning=") else {}
    path = (path.rstrip().removesuffix(",") if fixed else rest).rstrip()
    if fixed and fixed["lam_meaning"] not in LAM_MEANINGS_TOLD:
        raise ValueError(
            f"unknown lam_meaning {fixed['lam_meaning']!r}; allowed: {', '.join(LAM_MEANINGS_TOLD)}; "
            f"expected {SCHEDULE_FORMS['learned']}"
        )
    policy = load_policy(path or None)

    def factory(optimizer: Any = None, **context: Any) -> Schedule:
        options = {key: context[key] for key in _LEARNED_CONTEXT if key in context} | fixed
        return LearnedSchedule(optimizer, policy=policy, total_steps=context.get("total_steps"), **options)

    return factory
