"""A crew on a Ray cluster."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

from lambda_rl.agents.baselines.crew.units import Crew, Ground
from lambda_rl.agents.baselines.judge import Played
from lambda_rl.agents.clusters import Cluster, RayPool


class RayCrew(Crew):
    """Tasks of a Ray cluster, one for each unit, spread over its machines.

    Args:
        ground: what they work on.
        address: see :class:`~lambda_rl.agents.clusters.Cluster`.

    Raises:
        ValueError: ray is not installed, or there is no cluster.
    """

    def __init__(self, ground: Ground, address: str) -> None:
        self._cluster = Cluster(address)
        self._pool = RayPool(self._cluster, functools.partial(_doing, ground), ground.config.threads)

    def done(self, units: Sequence[bytes]) -> Iterator[tuple[int, list[Played]]]:
        """See :class:`~lambda_rl.agents.baselines.crew.units.Crew`."""
        return self._pool.done([(unit,) for unit in units])

    def close(self) -> None:
        """Leaves the cluster; one that was started for this is stopped."""
        self._cluster.close()


def _doing(ground: Ground) -> Callable[[bytes], list[Played]]:
    return ground.do
