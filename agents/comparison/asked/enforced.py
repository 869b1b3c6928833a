"""The rules of docs/protocol.md: what is refused, and what a reader is told."""

from __future__ import annotations

from collections.abc import Sequence

from lambda_rl.agents.baselines import Cell
from lambda_rl.agents.comparison.contestants import LineUp
from lambda_rl.agents.comparison.evidence.policies import seed_groups
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.tasks.suites import Suite

REPLICATES = 5
"""Policies by different training seeds that a statement about a way of training needs."""


def check_protocol(lineup: LineUp, suite: Suite, cells: Sequence[Cell]) -> None:
    """Refuses a comparison whose numbers could not be believed.

    Args:
        lineup: who takes part.
        suite: whose tasks are played.
        cells: tasks and seeds.

    Raises:
        ValueError: schedules were tuned on this suite or with some of its seeds, or a cell is there twice.
    """
    if len(set(cells)) != len(cells):
        raise ValueError(f"suite {suite.name} has a task and seed twice; each may be played once")
    tuned = lineup.tuned
    if tuned is None:
        return
    if tuned.suite == suite.name:
        raise ValueError(
            f"schedules were tuned on {suite.name} itself; tune on another suite (--tune), or compare on another"
        )
    if set(tuned.seeds) & {cell.task.seed for cell in cells}:
        raise ValueError(
            "the suite's seeds are among those that schedules were tuned with; give its tasks others"
        )


def notes(lineup: LineUp, suite: Suite, train: ImageData) -> list[str]:
    """What a reader should know before believing the numbers, one line each."""
    found = []
    if suite.fold != "held-out":
        found.append(
            f"the suite runs on the fold {suite.fold}, images that an agent may have been trained on"
        )
    if lineup.tuned is None:
        found.append(
            "the best single constant is chosen in hindsight; hand-designed schedules, if any, are untuned"
        )
    else:
        found += lineup.tuned.warnings(suite, train)
    decays = {task.decay for task in suite.tasks}
    penalties = {task.penalty for task in suite.tasks}
    for item in lineup.learned:
        card = item.policy.card
        if card.lam_meaning != "any" and decays != {card.lam_meaning}:
            meant = "converted" if item.lam_meaning == "convert" else "used unconverted"
            found.append(
                f"{item.name} was trained with {card.lam_meaning} decay, the suite has "
                f"{' and '.join(sorted(decays))}; its λ is {meant}"
            )
        if card.penalty != "any" and penalties != {card.penalty}:
            found.append(
                f"{item.name} was trained with the penalty {card.penalty}, the suite has "
                f"{' and '.join(sorted(penalties))}"
            )
    return [*found, *_replication(lineup)]


def _replication(lineup: LineUp) -> list[str]:
    """How many trainings the policies are of, where they are too few."""
    names = [item.name for item in lineup.learned]
    groups = seed_groups(names)
    alone = set(names) - {name for members in groups.values() for name in members}
    few = {stem: len(members) for stem, members in groups.items() if len(members) < REPLICATES}
    few |= dict.fromkeys((name for name in names if name in alone), 1)
    return [
        f"{name} is of {number} training seed{'s' if number > 1 else ''}; what training with another seed would have "
        f"given needs {REPLICATES}"
        for name, number in few.items()
    ]
