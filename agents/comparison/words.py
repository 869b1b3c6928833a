"""A comparison in words: what is concluded, the headline, and what each schedule is."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from enum import Enum

from lambda_rl.agents.ablation.contestants import MEAN, ablation_of
from lambda_rl.agents.ablation.contestants import MEANING as ABLATIONS
from lambda_rl.agents.baselines import BASELINES
from lambda_rl.agents.baselines.rivals.laws import Law
from lambda_rl.agents.baselines.rivals.searches import SearchedKnots
from lambda_rl.agents.comparison.evidence import Evidence, Pair, Standing
from lambda_rl.agents.comparison.results import (
    BEST_SINGLE,
    BEST_SINGLE_HINDSIGHT,
    HAND_DESIGNED,
    LEARNED,
    NO_PENALTY,
    ORACLE,
    Findings,
    Interval,
)
from lambda_rl.agents.comparison.summary import MEANING


class Verdict(Enum):
    """What an interval allows to say; its value is the word for it."""

    ABOVE = "better"
    BELOW = "worse"
    OPEN = "not told apart"
    TOO_FEW = "too few to conclude"


def verdict(pair: Pair, evidence: Evidence) -> Verdict:
    """What can be said of one schedule against another."""
    low, high = pair.interval
    if not evidence.enough or math.isnan(low):
        return Verdict.TOO_FEW
    return Verdict.ABOVE if low > 0 else Verdict.BELOW if high < 0 else Verdict.OPEN


def signed(value: float) -> str:
    """Two digits with a sign; what rounds to zero has none."""
    text = f"{abs(value):.2f}"
    return text if text == "0.00" else ("+" if value > 0 else "−") + text


def spanned(interval: Interval) -> str:
    """An interval, which must not break between its ends."""
    if math.isnan(interval[0]):
        return "one run"
    return f"[{signed(interval[0])},\N{NO-BREAK SPACE}{signed(interval[1])}]"


def counted(number: int, what: str) -> str:
    """A number of things."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def replicates(standing: Standing, found: Findings) -> str:
    """What the intervals of a schedule are over."""
    if standing.policies:
        return f"over {len(standing.policies)} policies"
    return f"over {counted(len(found.tasks), 'task')}" if len(found.tasks) > 1 else "over seeds"


def headline(found: Findings, evidence: Evidence) -> list[str]:
    """The result in sentences, for each policy, or for policies of one training by different seeds."""
    return [" ".join(_sentences(item, found, evidence)) for item in evidence.learned]


def _sentences(ours: Standing, found: Findings, evidence: Evidence) -> list[str]:
    many = f", mean of {len(ours.policies)} policies" if ours.policies else ""
    lines = [
        f"{ours.name} reaches {ours.accuracy:.2f} % test accuracy in {counted(ours.inner_runs, 'run')}{many}: "
        f"{_against(ours.against, evidence, 'the best single constant', replicates(ours, found))}."
    ]
    rival = evidence.strongest_rival(ours.name)
    if rival is not None and rival.other != BEST_SINGLE:
        lines.append(
            f"Against {rival.other}, the strongest rival of no higher cost: "
            f"{_against(rival, evidence, 'it', replicates(ours, found))}."
        )
    lines += _feedback(ours, evidence)
    oracle = evidence.standing(ORACLE)
    regret = oracle.accuracy - ours.accuracy
    place = "below" if regret >= 0 else "above"
    lines.append(
        f"It is {abs(regret):.2f} points {place} the oracle constant, chosen in hindsight out of "
        f"{counted(oracle.inner_runs, 'run')} per task."
    )
    return lines


def questions(ours: Standing, evidence: Evidence) -> list[tuple[str, Pair]]:
    """A policy against what a sceptic would have in its place, and what each of these is; those that took part."""
    asked = [
        ("the strongest rival of no higher cost", evidence.strongest_rival(ours.name)),
        ("the best law known before the run", evidence.best_of(ours.name, _families(Law))),
        (
            "the best open-loop schedule of Bayesian optimisation",
            evidence.best_of(ours.name, _families(SearchedKnots)),
        ),
        ("its own mean trajectory", evidence.of_policy(ours.name, MEAN)),
    ]
    return [(what, pair) for what, pair in asked if pair is not None]


def _families(of: type) -> list[str]:
    return [name for name, family in BASELINES.items() if isinstance(family, of)]


def _feedback(ours: Standing, evidence: Evidence) -> list[str]:
    """Whether a look at the run is worth anything, where there is somebody who takes none."""
    blind = questions(ours, evidence)[1:] if evidence.strongest_rival(ours.name) else []
    if not blind or not evidence.enough:
        return []
    said = [
        f"{what}{'' if what.startswith('its own') else f' ({pair.other})'} {signed(pair.difference)} "
        f"{spanned(pair.interval)}"
        for what, pair in blind
    ]
    helps = all(verdict(pair, evidence) is Verdict.ABOVE for _, pair in blind)
    start = "Feedback helps: against" if helps else "That feedback helps is not shown: against"
    return [f"{start} {'; '.join(said)} points."]


def _against(pair: Pair, evidence: Evidence, other: str, over: str) -> str:
    found = verdict(pair, evidence)
    points = f"{signed(pair.difference)} points"
    if found is Verdict.TOO_FEW:
        return f"{points} against {other} ({counted(evidence.cells, 'cell')}: {found.value})"
    low, high = pair.interval
    said = {
        Verdict.ABOVE: f"above {other}",
        Verdict.BELOW: f"below {other}",
        Verdict.OPEN: f"not told apart from {other}",
    }[found]
    return f"{points}, {said} (95 % interval {over} {signed(low)} to {signed(high)})"


def verdicts(found: Findings) -> list[str]:
    """Who won, for each policy, against all that a person would write down; nothing where nobody wrote any."""
    hand = found.of_kind(HAND_DESIGNED)
    rivals = [*hand, *(name for name in (BEST_SINGLE, NO_PENALTY) if name in found.schedules)]
    lines = []
    for name in found.of_kind(LEARNED) if hand else ():
        best, margin = _best_of(name, rivals, found)
        if margin > 0:
            lines.append(
                f"{name} wins: it is above all {len(rivals)} schedules that a person would write down, the best of "
                f"them ({best}) by {margin:.2f} points."
            )
        else:
            lines.append(
                f"{name} does not win: of {len(rivals)} schedules that a person would write down, {best} is "
                f"{-margin:.2f} points above it."
            )
    return lines


def _best_of(name: str, rivals: Sequence[str], found: Findings) -> tuple[str, float]:
    """The best of the rivals, and how many points a schedule is above it."""
    means = {key: found.schedules[key].test_accuracy_mean for key in (name, *rivals)}
    best = max(rivals, key=lambda key: means[key])
    return best, means[name] - means[best]


def meaning(name: str, found: Findings) -> str:
    """What a schedule is, in words."""
    if name == BEST_SINGLE:
        how = "on this suite, chosen in hindsight on test"
        tuned = "on the tuning suite"
        chosen = tuned if found.best_single_constant_chosen_on == "tuning suite" else how
        return f"the one constant that was best {chosen}: {found.best_single_constant}"
    if name == NO_PENALTY:
        return "λ = 0"
    if name in MEANING:
        return MEANING[name]
    if ablation := ablation_of(name):
        return ABLATIONS[ablation]
    if name not in found.schedules:
        return "policies that differ in the seed of their training alone: their mean"
    if name not in BASELINES:
        return "the learned policy" if name in found.of_kind(LEARNED) else found.schedules[name].spec
    line = (inspect.getdoc(type(BASELINES[name])) or "").partition("\n")[0].replace("`", "").rstrip(".")
    return f"{line} ({found.schedules[name].spec})"


def is_double(name: str, found: Findings) -> bool:
    """Whether a schedule is the best single constant under another name, as it is where nothing was tuned."""
    return name == BEST_SINGLE_HINDSIGHT and (
        found.schedules[name].tasks == found.schedules[BEST_SINGLE].tasks
    )
