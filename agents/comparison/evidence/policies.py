"""What replicates: policies that differ in the seed of their training alone, else tasks, else seeds."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from lambda_rl.agents.comparison.statistics import Array, mean_interval

_SEED = re.compile(r"(?P<stem>.+)-seed\d+")


def seed_groups(names: Iterable[str]) -> dict[str, list[str]]:
    """Names that differ in the number behind ``-seed`` alone, by what they have in common; two or more of each."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        match = _SEED.fullmatch(name)
        if match is not None:
            groups[match["stem"]].append(name)
    return {stem: members for stem, members in groups.items() if len(members) > 1}


def replicated(differences: Array) -> tuple[float, float]:
    """95 % interval of the mean of differences ``[policies, tasks, seeds]``: Student's t over what replicates.

    That is policies where there are several: how well one policy was measured says nothing of what another training
    would have given. Of one policy it is tasks, and of one task its seeds. All below is averaged first. Student's
    interval covers at the stated rate where a bootstrap of a few units is too narrow (``test_coverage.py``).
    """
    policies, tasks, _ = differences.shape
    if policies > 1:
        return mean_interval(differences.mean((1, 2)))
    return mean_interval(differences[0].mean(1) if tasks > 1 else differences[0, 0])
