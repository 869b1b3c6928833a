"""A connection to a Ray cluster; the only place that imports ray."""

from __future__ import annotations

import re
import socket
from types import TracebackType
from typing import Any

LOCAL = "local"
RETRIES = 10
"""How often a unit is done anew, or a worker replaced, whose process or machine was lost."""

_PATIENCE = 5.0  # seconds for a connection to a cluster


class WorkerLost(Exception):  # noqa: N818 - it is told as an OSError, if nobody can help it
    """A process or machine of the cluster is gone, and what it did with it."""


class Cluster:
    """A Ray cluster that this process talks to.

    Args:
        address: ``HOST:PORT``, ``ray://HOST:PORT``, ``auto``, or ``local`` for a cluster of this machine alone.

    Attributes:
        ray: the package.

    Raises:
        ValueError: ray is not installed, or there is no cluster.
    """

    def __init__(self, address: str) -> None:
        self.ray = _imported()
        self._mine = not self.ray.is_initialized()
        if self._mine:
            _connect(self.ray, address)

    @property
    def cpus(self) -> int:
        """Cores of all machines, as Ray counts them."""
        return int(self.ray.cluster_resources().get("CPU", 0))

    def share(self, value: Any) -> list[Any]:
        """Lays a value where every process of the cluster finds it.

        Returns:
            A list of its reference; Ray would hand over the value itself for one that stands alone.
        """
        return [self.ray.put(value)]

    def got(self, reference: Any) -> Any:
        """What a task came to, when it has.

        Raises:
            WorkerLost: who did it is gone.
            ValueError: raised by the task, and so is OSError.
        """
        errors = self.ray.exceptions
        try:
            return self.ray.get(reference)
        except errors.RayTaskError as error:
            if isinstance(error.cause, (ValueError, OSError)):
                raise error.cause from None
            raise
        except errors.RayError as error:
            raise WorkerLost(str(error)) from None

    def close(self) -> None:
        """Leaves the cluster; one that was started for this is stopped."""
        if self._mine:
            self.ray.shutdown()

    def __enter__(self) -> Cluster:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Closes."""
        self.close()


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
