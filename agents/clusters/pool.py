"""Units of work that any process of a cluster does; Ray's scheduler does what there is to schedule."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from lambda_rl.agents.clusters.cluster import RETRIES, Cluster, WorkerLost

R = TypeVar("R")


class RayPool(Generic[R]):
    """Tasks of a cluster, one for each unit, spread over its machines. What was lost with a process is done again.

    Args:
        cluster: whose processes.
        make: makes what does a unit, once in each process that does any.
        cpus: cores of a task.
    """

    def __init__(self, cluster: Cluster, make: Callable[[], Callable[..., R]], cpus: int = 1) -> None:
        self._cluster = cluster
        self._made = cluster.share(make)
        task = cluster.ray.remote(_do)
        self._task = task.options(max_retries=RETRIES, num_cpus=cpus, scheduling_strategy="SPREAD")

    def begin(self, units: Sequence[tuple[Any, ...]]) -> Callable[[], Iterator[R]]:
        """Has units done; what is returned waits for them, and gives their results in order.

        Args:
            units: arguments of each.
        """
        references = [self._task.remote(self._made, *unit) for unit in units]
        return lambda: map(self._got, references)

    def done(self, units: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, R]]:
        """Place of each unit and its result, as they come.

        Raises:
            OSError: a unit was lost :data:`RETRIES` times over.
        """
        places = {self._task.remote(self._made, *unit): place for place, unit in enumerate(units)}
        left = list(places)
        try:
            while left:
                (first,), left = self._cluster.ray.wait(left)
                yield places[first], self._got(first)
        finally:
            for reference in left:
                self._cluster.ray.cancel(reference)

    def _got(self, reference: Any) -> R:
        try:
            found: R = self._cluster.got(reference)
        except WorkerLost as error:
            raise OSError(f"the Ray cluster lost a run {RETRIES} times over: {error}") from None
        return found


@functools.lru_cache(maxsize=1)
def _tool(reference: Any) -> Callable[..., Any]:
    """What does the units, made once in each process of the cluster."""
    import ray

    made: Callable[..., Any] = ray.get(reference)()
    return made


def _do(made: Sequence[Any], *unit: Any) -> Any:
    """In a process of the cluster."""
    return _tool(made[0])(*unit)
