"""Pieces of work, done here, by processes of this machine or by a cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from lambda_rl.agents.clusters.alike import alike
from lambda_rl.agents.clusters.cluster import Cluster
from lambda_rl.agents.clusters.pool import RayPool
from lambda_rl.envs.hardware.processes import spread

Work = TypeVar("Work")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Spread:
    """Who does pieces of work; what they come to does not depend on it.

    Attributes:
        processes: of one thread each, side by side on this machine; up to 1: this one.
        ray: address of a cluster that does them in place of these, see :class:`~lambda_rl.agents.clusters.Cluster`.
    """

    processes: int = 1
    ray: str = ""

    def __call__(self, do: Callable[[Work], Found], work: Iterable[Work]) -> Iterator[Found]:
        """What comes of each piece, as soon as it is there.

        Args:
            do: does a piece; other processes find it by its module and name.
            work: the pieces.
        """
        if not self.ray:
            yield from spread(do, work, self.processes if self.processes > 1 else 0)
            return
        with Cluster(self.ray) as cluster:
            pool: RayPool[Found] = RayPool(cluster, alike(functools.partial(_given, do)))
            for _, found in pool.done([(piece,) for piece in work]):
                yield found


HERE = Spread()
"""This process."""


def _given(do: Callable[[Work], Found]) -> Callable[[Work], Found]:
    return do
