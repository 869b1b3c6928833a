"""A crew of processes on this machine."""

from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from lambda_rl.agents.baselines.crew.units import Crew, Ground
from lambda_rl.agents.baselines.judge import Played

MOST_LOST = 3
"""Times in a row that a process may die before any unit is done; then it is the units that kill them."""


class ProcessCrew(Crew):
    """Processes that read the images from one file, and are replaced when they are killed.

    Args:
        ground: what they work on.
        count: processes.
    """

    def __init__(self, ground: Ground, count: int) -> None:
        self._count = count
        self._folder = tempfile.TemporaryDirectory(prefix="lambda-rl-crew-")
        self._ground = Path(self._folder.name) / "ground.pickle"
        with self._ground.open("wb") as file:
            pickle.dump(ground, file, protocol=pickle.HIGHEST_PROTOCOL)

    def done(self, units: Sequence[bytes]) -> Iterator[tuple[int, list[Played]]]:
        """See :class:`~lambda_rl.agents.baselines.crew.units.Crew`."""
        left, lost = dict(enumerate(units)), 0
        while left:
            try:
                for place, found in self._tried(left):
                    del left[place]
                    lost = 0
                    yield place, found
            except BrokenProcessPool:
                lost += 1
                if lost == MOST_LOST:
                    raise OSError(
                        f"worker processes were killed {lost} times in a row before any run was done; "
                        f"fewer --workers need less memory"
                    ) from None

    def _tried(self, units: dict[int, bytes]) -> Iterator[tuple[int, list[Played]]]:
        """Until all are done, or one of the processes is killed."""
        # A process of its own starts the others: a fork of this one would have the locks of its threads.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        pool = ProcessPoolExecutor(min(self._count, len(units)), context, _begin)
        try:
            futures = {pool.submit(_do, str(self._ground), unit): place for place, unit in units.items()}
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def close(self) -> None:
        """Removes the file."""
        self._folder.cleanup()


def _begin() -> None:
    """Of a process: an interruption is its parent's affair, and it ends when that is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@functools.lru_cache(maxsize=1)
def _ground(path: str) -> Ground:
    with Path(path).open("rb") as file:
        found: Ground = pickle.load(file)  # written by the process that this one belongs to
    return found


def _do(path: str, unit: bytes) -> list[Played]:
    return _ground(path).do(unit)
