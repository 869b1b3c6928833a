"""Schedules out of a line of text, as the command line has them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lambda_rl.policy.file import load_policy
from lambda_rl.policy.meaning import LAM_MEANINGS_TOLD
from lambda_rl.schedules.base import Schedule
from lambda_rl.schedules.gap_rule import GapRule
from lambda_rl.schedules.learned import LearnedSchedule
from lambda_rl.schedules.open_loop import Constant, Cosine, PullDown, PullUp, Steps
from lambda_rl.schedules.replay import ReplaySchedule

ScheduleFactory = Callable[..., Schedule]
"""Called as ``factory(optimizer=None, **context)``, see :func:`parse_schedule`."""

SCHEDULE_FORMS: dict[str, str] = {
    "constant": "constant:0.01",
    "steps": "steps:3,2,1,0",
    "pull-down": "pull-down:HIGH,LOW[,exponential|linear]",
    "pull-up": "pull-up:LOW,HIGH[,exponential|linear]",
    "cosine": "cosine:START,END",
    "gap": "gap[:initial=0.01,factor=2,threshold=0.05,low_threshold=0.0125]",
    "replay": "replay:FILE.csv",
    "learned": "learned[:FILE.safetensors or a shipped policy's name][,lam_meaning=convert]",
}
"""The names of schedules, and how each is written."""

_OPEN_LOOP: dict[str, tuple[ScheduleFactory, int]] = {
    "constant": (Constant, 1), "pull-down": (PullDown, 2), "pull-up": (PullUp, 2), "cosine": (Cosine, 2),
}  # fmt: skip
_GAP_OPTIONS = ("initial", "factor", "threshold", "low_threshold")
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
    if not rest and (colon or name not in ("gap", "learned")):
        raise ValueError(f"schedule {spec!r} has no arguments; expected {SCHEDULE_FORMS[name]}")
    if name == "learned":
        return _learned(rest)
    if name == "replay":
        return _open_loop(ReplaySchedule, (ReplaySchedule(Path(rest).expanduser()).rows,))
    try:
        factory = _gap(rest) if name == "gap" else _open_loop(*_open_loop_arguments(name, rest.split(",")))
        factory()  # checks the values now, not when a run starts
    except ValueError as error:
        raise ValueError(f"schedule {spec!r}: {error}; expected {SCHEDULE_FORMS[name]}") from None
    return factory


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"{text.strip()!r} is not a number") from None
    if not math.isfinite(number):
        raise ValueError(f"{text.strip()!r} is not a finite number")
    return number


def _open_loop_arguments(name: str, words: list[str]) -> tuple[ScheduleFactory, tuple[Any, ...]]:
    if name == "steps":
        return Steps, ([_number(word) for word in words],)
    kind, count = _OPEN_LOOP[name]
    shape = (words.pop().strip(),) if name.startswith("pull") and len(words) == count + 1 else ()
    if len(words) != count:
        raise ValueError(f"{len(words)} values where {count} belong")
    return kind, (*map(_number, words), *shape)


def _open_loop(kind: ScheduleFactory, arguments: tuple[Any, ...]) -> ScheduleFactory:
    def factory(optimizer: Any = None, **context: Any) -> Schedule:
        # An open-loop schedule is what its author wrote: a range meant for feedback does not clip it.
        return kind(*arguments, optimizer=optimizer, total_steps=context.get("total_steps"))

    return factory


def _gap(rest: str) -> ScheduleFactory:
    options: dict[str, float] = {}
    for word in rest.split(",") if rest else ():
        key, equals, number = word.partition("=")
        key = key.strip()
        if not equals or key not in _GAP_OPTIONS:
            raise ValueError(
                f"unknown option {word.strip()!r}; allowed: {', '.join(_GAP_OPTIONS)}, as name=number"
            )
        if key in options:
            raise ValueError(f"option {key} given twice")
        options[key] = _number(number)

    def factory(optimizer: Any = None, **context: Any) -> Schedule:
        limits = {key: context[key] for key in ("lam_range",) if context.get(key) is not None}
        # The options are checked above, by name.
        arguments: dict[str, Any] = {**options, "total_steps": context.get("total_steps"), **limits}
        return GapRule(optimizer=optimizer, **arguments)

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
