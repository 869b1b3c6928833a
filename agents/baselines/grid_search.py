"""Grid search over constants: the first contestant that is no schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from lambda_rl.agents.baselines.contestant import ScheduleContestant
from lambda_rl.agents.baselines.judge import Cell, Judge, Played
from lambda_rl.envs.judging import ScheduleJob

GRID_SEARCH = "grid-search"


class GridSearch:
    """For each run the constant with the best final validation accuracy, of equals the first: what a careful user does.

    Args:
        constants: what is searched; at least one.
    """

    name = GRID_SEARCH
    kind = "derived"

    def __init__(self, constants: Sequence[ScheduleContestant]) -> None:
        if not constants:
            raise ValueError("a grid search needs at least one constant")
        self.constants = tuple(constants)
        self.spec = f"{self.name}:{','.join(constant.spec for constant in constants)}"

    def jobs(self, cells: Sequence[Cell]) -> list[ScheduleJob]:
        """The runs of all constants."""
        return [job for constant in self.constants for job in constant.jobs(cells)]

    def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
        """See :class:`Contestant`; costs what all constants cost together."""
        judge(self.jobs(cells))
        for tried in zip(*(constant.play(cells, judge) for constant in self.constants), strict=True):
            yield chosen(tried)


def chosen(tried: Sequence[Played]) -> Played:
    """The result of the best final validation accuracy, of equals the first, at the cost of all."""
    best = max(tried, key=lambda played: played.result.val_accuracy)
    return dataclasses.replace(
        best,
        inner_runs=sum(played.inner_runs for played in tried),
        steps=sum(played.steps for played in tried),
        seconds=sum(played.seconds for played in tried),
    )
