"""How each schedule looks in all figures of a comparison: learned ones stand out, the others take their turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from lambda_rl.agents.baselines import GRID_SEARCH, families_to_choose
from lambda_rl.agents.comparison.evidence import Standing, seed_groups
from lambda_rl.agents.comparison.results import BEST_SINGLE, HAND_DESIGNED, LEARNED, ORACLE, Summary
from lambda_rl.agents.presenting.style import GREY, LEARNED_PALETTE, MARKERS, PALETTE

BLACK = "#111111"
OTHER = "#A0A0A0"
"""Of schedules that are neither learned nor hand-designed."""


@dataclass(frozen=True)
class Look:
    """Colour and marker of a schedule, and whether it is learned."""

    colour: str
    marker: str = "o"
    learned: bool = False


def looks(summary: Summary) -> dict[str, Look]:
    """A look for each schedule by name.

    Hand-designed ones have theirs by their family's place among all families, so that a family looks the same in
    every comparison; those of no family follow.
    """
    found = dict.fromkeys(summary.schedules, Look(OTHER))
    found |= {
        BEST_SINGLE: Look(GREY),
        ORACLE: Look(BLACK, "*"),
        GRID_SEARCH: Look(GREY, "X"),
    }
    families = families_to_choose()
    others = sorted(set(summary.of_kind(HAND_DESIGNED)) - set(families))
    for place, name in enumerate([*families, *others]):
        turn = place // len(PALETTE)  # with each, markers move on by one, so that 25 are told apart
        found[name] = Look(PALETTE[place % len(PALETTE)], MARKERS[(place + turn) % len(MARKERS)])
    agents = by_training(summary.of_kind(LEARNED))
    for place, training in enumerate(sorted(agents)):
        look = Look(LEARNED_PALETTE[place % len(LEARNED_PALETTE)], learned=True)
        found |= dict.fromkeys((training, *agents[training]), look)
    return found


def by_training(policies: Iterable[str]) -> dict[str, list[str]]:
    """Policies by what their names have in common: those that differ in the seed of their training are one."""
    policies = list(policies)
    groups = seed_groups(policies)
    stem_of = {name: stem for stem, members in groups.items() for name in members}
    found: dict[str, list[str]] = {}
    for name in policies:
        found.setdefault(stem_of.get(name, name), []).append(name)
    return found


def together(rows: pd.DataFrame, agents: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Rows of policies under the name of their training, each run a seed of its own."""
    training = {name: stem for stem, members in agents.items() for name in members}
    schedule, seed = rows["schedule"], rows["seed"].astype(str)
    learned = schedule.isin(list(training))
    return rows.assign(schedule=schedule.replace(training), seed=seed.where(~learned, schedule + " " + seed))


def look_of(item: Standing, look: Mapping[str, Look]) -> Look:
    """Of a schedule, or of policies of one training: that of the first of them."""
    return look[item.policies[0] if item.policies else item.name]


def lam_of(constant: str) -> float:
    """λ of a constant, out of its name."""
    return float(constant.partition(":")[2])
