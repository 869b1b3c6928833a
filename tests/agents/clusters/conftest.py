"""A stand-in for ray: its calls, in this process, where processes die at calls that are named; and a real cluster."""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lambda_rl.agents.clusters import Cluster

NO_RAY = "ray is not installed (pip install 'lambda-rl[train,ray]')"


class RayError(Exception):
    """A process is gone."""


class RayTaskError(RayError):
    """A task raised something."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Process:
    """An actor; what it is told and answers is copied, as if it travelled."""

    def __init__(self, ray: StandIn, actor: Any) -> None:
        self.ray, self.actor, self.dead = ray, actor, False

    def __getattr__(self, name: str) -> Any:
        return types.SimpleNamespace(remote=lambda *given: self._called(name, copy.deepcopy(given)))

    def _called(self, name: str, given: tuple[Any, ...]) -> Callable[[], Any]:
        self.ray.calls.append(given[2] if name == "take_up" else given[0])
        self.dead |= len(self.ray.calls) in self.ray.deaths
        if self.dead:
            return raises(RayError("it died"))
        try:
            found = copy.deepcopy(getattr(self.actor, name)(*given))
        except Exception as error:
            return raises(RayTaskError(error))
        return lambda: found


def raises(error: Exception) -> Callable[[], Any]:
    """A reference to what failed."""

    def get() -> Any:
        raise error

    return get


class StandIn:
    """What :mod:`lambda_rl.agents.clusters` calls of ray.

    Attributes:
        calls: what processes were asked for.
        deaths: numbers of calls, from 1 on, at which the process dies that is called.
        began: processes so far.
        cancelled: tasks.
    """

    exceptions = types.SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, cores: int) -> None:
        self.calls: list[str] = []
        self.deaths: set[int] = set()
        self.began = self.cancelled = 0
        self._cores = cores

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": float(self._cores)}

    def put(self, value: Any) -> Callable[[], Any]:
        return lambda: value

    def get(self, reference: Callable[[], Any]) -> Any:
        return reference()

    def kill(self, process: Process) -> None:
        process.dead = True

    def wait(self, references: list[Any]) -> tuple[list[Any], list[Any]]:
        return references[-1:], references[:-1]  # the last one comes first

    def cancel(self, reference: Any) -> None:
        self.cancelled += 1

    def remote(self, kind: Callable[..., Any]) -> Any:
        """An actor of a class, or a task of a function, which Ray itself would do again."""

        def begin(*given: Any) -> Any:
            if isinstance(kind, type):
                self.began += 1
                return Process(self, kind(*given))
            try:
                found = kind(given[0], *copy.deepcopy(given[1:]))
            except Exception as error:
                return raises(RayTaskError(error))
            return lambda: found

        return types.SimpleNamespace(options=lambda **_: types.SimpleNamespace(remote=begin))


class StandInCluster(Cluster):
    """A cluster of so many cores, all of them this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cores: int = 4) -> None:
        self.ray = self.stand_in = StandIn(cores)
        self._mine = False
        monkeypatch.setitem(__import__("sys").modules, "ray", self.ray)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> StandInCluster:
    """Four cores."""
    return StandInCluster(monkeypatch)


@pytest.fixture(scope="module")
def two_machines() -> Iterator[str]:
    """The address of a cluster of two nodes, of one core each."""
    ray = pytest.importorskip("ray", reason=NO_RAY)
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        assert sum(node["Alive"] for node in ray.nodes()) == 2
        yield cluster.address
    finally:
        ray.shutdown()
        cluster.shutdown()
