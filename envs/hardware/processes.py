"""Work that is spread over processes of one thread each."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

import torch

Work = TypeVar("Work")
Found = TypeVar("Found")


def spread(do: Callable[[Work], Found], work: Iterable[Work], processes: int) -> Iterator[Found]:
    """What comes of each piece of work, as soon as it is there; what was not begun is left if the rest is not wanted.

    Args:
        do: does a piece; other processes find it by its module and name.
        work: the pieces.
        processes: side by side, with one thread each; 0: this one, in order, with the threads that it has.
    """
    if not processes:
        yield from map(do, work)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting = [pool.submit(do, piece) for piece in work]
        try:
            for future in as_completed(waiting):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
