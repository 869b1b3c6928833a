"""Ablations of a policy as contestants: what is left of it without a part of what it sees, or without feedback."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lambda_rl import Constant, LearnedSchedule, Policy, Schedule
from lambda_rl.agents.ablation.families import FAMILIES, VALIDATION, families_in, members
from lambda_rl.agents.ablation.traces import Replay, Shuffled, Traces
from lambda_rl.agents.ablation.weights import blinded, untrained
from lambda_rl.agents.baselines import Cell, Contestant, Judge, Played, ScheduleContestant
from lambda_rl.checks import did_you_mean
from lambda_rl.envs.judging import ScheduleJob

ABLATION = "ablation"
"""The kind of these contestants."""

UNTRAINED, FACTS_ONLY, WITHOUT = "untrained", "facts-only", "without-"
FINAL, MEAN, SHUFFLED = "final-lambda", "mean-trajectory", "shuffled"

MEANING: dict[str, str] = {
    UNTRAINED: "a policy of the same shape with the weights that training begins with",
    FACTS_ONLY: "blind to all that is measured while training: facts of the run, time and its own λ are left",
    **{f"{WITHOUT}{family}": f"blind to the features of the family {family}" for family in FAMILIES},
    f"{WITHOUT}{VALIDATION}": "blind to all that a validation signal is in",
    FINAL: "the run again, with the λ that the policy ended at, held throughout",
    MEAN: "the policy's mean trajectory on the tuning suite, the same for all runs, replayed without a look",
    SHUFFLED: "at each decision the policy sees another run: it makes the move that it made in a run of the tuning "
    "suite, drawn anew",
}
"""All ablations, in words. A policy that is blind to a feature finds it as it was on average in its training."""

OF_TRACES = (MEAN, SHUFFLED)
"""Those that need what the policy did on the tuning suite."""

ALL = "all"


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """The ablations that are named; ``all`` for every one.

    Raises:
        ValueError: there is none of that name.
    """
    for name in names:
        if name not in (*MEANING, ALL):
            raise ValueError(
                f"unknown ablation {name}; allowed are {ALL}, {', '.join(MEANING)}{did_you_mean(name, MEANING)}"
            )
    return tuple(MEANING) if ALL in names else tuple(dict.fromkeys(names))


def ablation_of(name: str) -> str:
    """Which ablation a contestant's name says; empty: none."""
    first, colon, _ = name.partition(":")
    return first if colon and first in MEANING else ""


def ablated(
    names: Sequence[str], of: ScheduleContestant, policy: Policy, short: str, traces: Traces | None
) -> list[Contestant]:
    """The ablations of one policy as contestants; a family of which it reads nothing is passed over.

    Args:
        names: see :func:`chosen`.
        of: who plays the policy.
        policy: the policy.
        short: its name, as these contestants' names have it behind a colon.
        traces: what it did on the tuning suite; None: it is not known yet, and some cannot play.
    """
    there = {f"{WITHOUT}{family}" for family in families_in(policy.card.features)}
    made = []
    for name in chosen(names):
        if not name.startswith(WITHOUT) or name in there:
            one = replace(of, name=f"{name}:{short}", kind=ABLATION, spec=f"{name} of {of.spec}")
            made.append(_made(name, one, of, policy, traces))
    return made


def _made(
    name: str, one: ScheduleContestant, of: ScheduleContestant, policy: Policy, traces: Traces | None
) -> Contestant:
    if name == FINAL:
        return FinalHeld(one.name, one.kind, f"{one.spec} {of.fingerprint}", of)
    if name == SHUFFLED:
        return Shuffled(one, traces)
    if name == MEAN:
        replay = Replay((0.0,), False) if traces is None else traces.mean
        return replace(one, make=replay, fingerprint=replay.fingerprint)
    other = untrained(policy) if name == UNTRAINED else blinded(policy, hidden(name, policy))
    return replace(one, make=_playing(of, other), fingerprint=other.fingerprint)


def hidden(name: str, policy: Policy) -> set[str]:
    """The features that an ablation takes from a policy."""
    if name == FACTS_ONLY:
        return set(policy.card.features) - {
            f for family in ("facts", "time", "lambda") for f in members(family)
        }
    return set(members(name.removeprefix(WITHOUT)))


def _playing(of: ScheduleContestant, policy: Policy) -> Callable[..., Schedule]:
    """What makes the same schedule with another policy."""
    told = of.make.keywords if isinstance(of.make, functools.partial) else {}
    return functools.partial(LearnedSchedule, **{**told, "policy": policy})


@dataclass(frozen=True)
class FinalHeld:
    """A run under a policy, then the run again under the λ that it ended at.

    Attributes:
        name: see :class:`~lambda_rl.agents.baselines.Contestant`, as the next two.
        kind: see there.
        spec: see there.
        of: who plays the policy.
    """

    name: str
    kind: str
    spec: str
    of: ScheduleContestant

    def jobs(self, cells: Sequence[Cell]) -> list[ScheduleJob]:
        """The policy's runs, which come first."""
        return self.of.jobs(cells)

    def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
        """See :class:`~lambda_rl.agents.baselines.Contestant`; costs two runs."""
        before = list(self.of.play(cells, judge))
        lams = [10.0 ** item.result.history["log_lam"][-1] for item in before]
        jobs = [
            ScheduleJob(cell.task, f"held:{lam!r}", functools.partial(_held, lam), key=cell.name)
            for cell, lam in zip(cells, lams, strict=True)
        ]
        for first, then in zip(before, judge(jobs), strict=True):
            yield dataclasses.replace(
                then,
                spec=self.spec,
                inner_runs=first.inner_runs + then.inner_runs,
                steps=first.steps + then.steps,
                seconds=first.seconds + then.seconds,
            )


def _held(lam: float, optimizer: Any = None, **context: Any) -> Schedule:
    return Constant(lam, optimizer, total_steps=context.get("total_steps"))
