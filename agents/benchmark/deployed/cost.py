"""Times what a schedule adds to a step: each piece right after a real step, with the caches that the step has left.

A step that takes milliseconds leaves nothing of Python's code and of the optimizer in the processor's nearest caches,
so what follows it takes several times as long as in a loop of its own. Each piece is timed after a step of its own, in
turn, and the median of each counts. On a CPU it is the process's own time that counts: a step of milliseconds is often
interrupted by other processes and a call of microseconds hardly ever, so that by the clock calls look too cheap.
"""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR

from lambda_rl import LearnedSchedule
from lambda_rl.agents.benchmark.deployed.loops import LOOPS, Loop, Running, start
from lambda_rl.agents.benchmark.machine.peaks import synchronize
from lambda_rl.attach.counting import StepCounter

RUN = 10_000
"""Steps of the run that shares are told for; the policy decides as often as in its training."""

_FAR = 10**9  # steps of a run whose first decision never comes

Piece = Callable[[Tensor], object]


def _schedule(
    running: Running, optimizer: Optimizer, loop: Loop, total_steps: int, decisions: int | None = None
) -> LearnedSchedule:
    """The shipped policy."""
    return LearnedSchedule(
        optimizer, total_steps=total_steps, num_train=5000, val_size=500, num_classes=loop.classes, batch_size=64,
        model=running.model, decisions=decisions,
    )  # fmt: skip


def _decider(running: Running, loop: Loop, calls: int) -> Piece:
    """A call that decides each time. Measuring its signals is the loop's own work."""
    schedule, done = _schedule(running, loop.optimizer(running.model), loop, calls + 1, calls + 1), 0

    def call(loss: Tensor) -> None:
        nonlocal done
        done += 1
        schedule.step(
            step=done, train_loss=loss, val_loss=2.0 + 1.0 / done, train_accuracy=0.3, val_accuracy=0.3
        )

    return call


def _noter(running: Running, loop: Loop) -> Piece:
    """A call that only takes note of its minibatch's loss: what a schedule costs that is called after each step."""
    schedule = _schedule(running, running.optimizer, loop, _FAR)
    return lambda loss: schedule.step(train_loss=loss)


def _scheduler(running: Running, loop: Loop, make: Callable[[Any], Any]) -> Piece:
    scheduler = make(loop.optimizer(running.model))
    return lambda _: scheduler.step()


def _pieces(running: Running, loop: Loop, repeats: int) -> dict[str, Piece]:
    """What is timed after a step, by name; ``note`` has the optimizer that steps, all others one of their own."""
    counter = StepCounter(SGD([torch.zeros(1)], lr=0.1))
    return {
        "cosine": _scheduler(running, loop, lambda optimizer: CosineAnnealingLR(optimizer, _FAR)),
        "one_cycle": _scheduler(running, loop, lambda optimizer: OneCycleLR(optimizer, 0.1, _FAR)),
        "count": lambda _: counter._count(running.optimizer),
        "note": _noter(running, loop),
        "decision": _decider(running, loop, repeats + 1),
    }


def _time(
    running: Running, pieces: Mapping[str, Piece], repeats: int, device: torch.device
) -> dict[str, float]:
    """Medians in microseconds, ``step`` among them."""
    now = time.process_time if device.type == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in ("step", *pieces)}
    for repeat in range(repeats + 1):
        for name, piece in pieces.items():
            begin = now()
            loss = running.step()
            synchronize(device)
            middle = now()
            piece(loss)
            end = now()
            if repeat:  # the first is a warm-up, which compiles where that is asked for
                seconds["step"].append(middle - begin)
                seconds[name].append(end - middle)
    return {f"{name}_us": 1e6 * statistics.median(each) for name, each in seconds.items()}


def _memory(running: Running, loop: Loop) -> tuple[int, int]:
    """Bytes of Python's and numpy's memory that a schedule holds at the end of a run, and its decisions."""
    # What is imported and kept by modules is not the schedule's.
    _schedule(running, running.optimizer, loop, 2)
    gc.collect()
    tracemalloc.start()
    try:
        schedule = _schedule(running, running.optimizer, loop, 2**20)
        decisions = schedule.decisions
        for done in range(1, decisions + 1):
            schedule.step(
                progress=done / decisions, train_loss=2.0, val_loss=2.0 + 1.0 / done, train_accuracy=0.3,
                val_accuracy=0.3,
            )  # fmt: skip
        gc.collect()
        return tracemalloc.get_traced_memory()[0], decisions
    finally:
        tracemalloc.stop()


def _one(loop: Loop, repeats: int, device: torch.device, *, compiled: bool) -> dict[str, float]:
    """The row of a loop."""
    running = start(loop, device, compiled=compiled)
    found = _time(running, _pieces(running, loop, repeats), repeats, device)
    found["bytes"], found["decisions"] = _memory(running, loop)
    found["weight_bytes"] = sum(p.numel() * p.element_size() for p in running.model.parameters())
    deciding = found["decisions"] / RUN * found["decision_us"]
    each = found["note_us"] * (1 - found["decisions"] / RUN)
    found["share_each_step"] = (found["count_us"] + each + deciding) / found["step_us"]
    found["share_decisions"] = (found["count_us"] + deciding) / found["step_us"]
    return found


def deployed(
    loops: tuple[str, ...] = tuple(LOOPS),
    repeats: int = 30,
    device: torch.device | None = None,
    *,
    compiled: tuple[bool, ...] = (False,),
    console: Console | None = None,
) -> dict[str, dict[str, float]]:
    """Times the shipped policy in plain loops, and prints a table.

    Args:
        loops: which of :data:`~.loops.LOOPS`, by label.
        repeats: of each piece, after one that warms up.
        device: where the loops train; None: the CPU.
        compiled: whether their networks are compiled; both makes two rows of each.
        console: where to print.

    Returns:
        By label, medians in microseconds: ``step_us`` of a training step, ``cosine_us`` and ``one_cycle_us`` of a step
        of torch's learning rate schedulers, ``count_us`` of counting a step, ``note_us`` of a call that only takes note
        of a loss, ``decision_us`` of one that decides; ``share_each_step`` and ``share_decisions``, the share of the
        training time of a run of :data:`RUN` steps that a schedule costs that is called after each step, and only
        where it decides; ``decisions`` of the run; ``bytes`` that the schedule holds in the end, and ``weight_bytes``
        of the network.

    Raises:
        ValueError: an unknown loop.
    """
    results: dict[str, dict[str, float]] = {}
    for name in loops:
        if name not in LOOPS:
            raise ValueError(f"unknown loop {name!r} to time; allowed are {', '.join(LOOPS)}")
        for each in compiled:
            label = f"{name}, compiled" if each else name
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the run is odd, and most optimizers make no steps
                results[label] = _one(LOOPS[name], repeats, device or torch.device("cpu"), compiled=each)
    (console or Console()).print(_table(results))
    return results


COLUMNS = {
    "step_us": "training step",
    "cosine_us": "CosineAnnealingLR",
    "count_us": "counting",
    "note_us": "a call",
    "decision_us": "a decision",
}
"""Times that a table shows, with their headings."""


def cells(row: Mapping[str, float]) -> list[str]:
    """A row of the table: times in µs, shares, kibibytes."""
    shares = [f"{row[key]:.2%}" for key in ("share_each_step", "share_decisions")]
    return [*(f"{row[key]:,.0f}" for key in COLUMNS), *shares, f"{row['bytes'] / 1024:,.0f}"]


def _table(results: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(title=f"the shipped policy in plain loops, µs; shares of a run of {RUN:,} steps")
    table.add_column("loop")
    for heading in (*COLUMNS.values(), "called each step", "called to decide", "KiB"):
        table.add_column(heading, justify="right")
    for name, row in results.items():
        table.add_row(name, *cells(row))
    return table
