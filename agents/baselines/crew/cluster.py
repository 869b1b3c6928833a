"""A crew on a Ray cluster, whose scheduler does what there is to schedule."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from lambda_rl.agents.baselines.crew.units import Crew, Ground
from lambda_rl.agents.baselines.judge import Played

LOCAL = "local"
RETRIES = 10
"""How often Ray does a unit anew whose process or machine was lost."""

_PATIENCE = 5.0  # seconds for a connection to a cluster


class RayCrew(Crew):
    """Tasks of a Ray cluster, one for each unit, spread over its machines.

    Args:
        ground: what they work on.
        address: ``HOST:PORT``, ``ray://HOST:PORT``, ``auto``, or ``local`` for a cluster of this machine alone.

    Raises:
        ValueError: ray is not installed, or there is no cluster.
    """

    def __init__(self, ground: Ground, address: str) -> None:
        self._ray = _imported()
        self._mine = not self._ray.is_initialized()
        if self._mine:
            _connect(self._ray, address)
        self._ground = self._ray.put(ground)
        task = self._ray.remote(_do)
        self._task = task.options(
            max_retries=RETRIES, num_cpus=ground.config.threads, scheduling_strategy="SPREAD"
        )

    def done(self, units: Sequence[bytes]) -> Iterator[tuple[int, list[Played]]]:
        """See :class:`~lambda_rl.agents.baselines.crew.units.Crew`."""
        places = {self._task.remote([self._ground], unit): place for place, unit in enumerate(units)}
        left = list(places)
        try:
            while left:
                (first,), left = self._ray.wait(left)
                yield places[first], self._got(first)
        finally:
            for reference in left:
                self._ray.cancel(reference)

    def _got(self, reference: Any) -> list[Played]:
        errors = self._ray.exceptions
        try:
            found: list[Played] = self._ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, (ValueError, OSError)):
                raise error.cause from None
            raise
        except errors.RayError as error:
            raise OSError(f"the Ray cluster lost a run {RETRIES} times over: {error}") from None
        return found

    def close(self) -> None:
        """Leaves the cluster; one that was started for this is stopped."""
        if self._mine:
            self._ray.shutdown()


def _imported() -> Any:
    try:
        import ray
    except ModuleNotFoundError:
        raise ValueError(
            "--ray needs ray, which is not installed: pip install 'lambda-rl[train,ray]'"
        ) from None
    return ray


def _connect(ray: Any, address: str) -> None:
    place = re.fullmatch(r"(?:ray://)?([^/:]+):(\d+)", address)
    if place is None and address not in (LOCAL, "auto"):
        raise ValueError(
            f"--ray {address!r} is no address; allowed are HOST:PORT, ray://HOST:PORT, auto and {LOCAL}"
        )
    try:
        if place is not None:  # Ray itself would try for a minute
            socket.create_connection((place[1], int(place[2])), _PATIENCE).close()
        options: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {}
        ray.init(address=address, log_to_driver=False, logging_level="error", **options)
    except (OSError, OverflowError, ConnectionError, RuntimeError) as error:
        raise ValueError(f"--ray {address}: no Ray cluster there ({error})") from None


def _do(ground: Sequence[Any], unit: bytes) -> list[Played]:
    """In a process of the cluster; images lie in its shared memory, and are not copied."""
    import ray

    return ray.get(ground[0]).do(unit)
