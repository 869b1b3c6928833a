"""What a training step would take if torch's fastest kernels were all of it: a floor that this machine can reach.

:mod:`.roofline` lets every product run at the peak of large squares. Here each part of a step runs, on arrays of its
own and over and over, as fast as torch has it: a product by the fastest of its :mod:`.kernels` at exactly its shapes,
and what only moves memory (the gather, the update) as a copy that moves as many bytes, out of memory beyond all caches
for the gather, and wherever they come to lie after the last copy for the update. All that is elementwise (bias, ReLU,
pooling, loss) is still free, and so is everything outside of the parts: this is a lower bound.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from lambda_rl.agents.benchmark.machine.kernels import (
    FORWARD,
    OF_INPUT,
    OF_WEIGHT,
    Call,
    Kernel,
    Stacked,
    kernels,
    quickest,
    spent_on,
)
from lambda_rl.agents.benchmark.machine.peaks import DTYPES
from lambda_rl.agents.benchmark.machine.roofline import Part, Product, products, step_parts
from lambda_rl.envs.networks import Network
from lambda_rl.envs.tasks.task import Task

FAR = 2**26
"""Bytes that a gather reads from in turn: more than caches hold."""

EVALUATION = "evaluation"


@dataclass(frozen=True)
class Work:
    """A part of a step as it is run.

    Attributes:
        part: of one network, as the model counts it.
        kernel: what it is run by.
        share: calls of it in a step of the stack; less than 1 where it takes the images of many steps at once.
    """

    part: Part
    kernel: Kernel
    share: float = 1.0


def step_work(
    task: Task, network: Network, precision: str, evaluated: float, stacked: Stacked, seconds: float
) -> list[Work]:
    """The parts of a step of N networks, each by its fastest kernel.

    Args:
        task: what is trained.
        network: its network.
        precision: ``fp32`` or ``bf16``.
        evaluated: images evaluated per training step.
        stacked: N, and the same precision as torch has it.
        seconds: for which each kernel is tried.
    """
    layers = {layer.name: layer for layer in products(network)}
    made = []
    for part in step_parts(task, network, precision, evaluated):
        name, _, kind = part.name.partition(" ")
        if name in layers:
            found, share = _ways(layers[name], kind, task, network, evaluated)(stacked)
            made.append(Work(part, quickest(found, stacked.device, seconds), share))
        else:
            bytes_moved = round(stacked.count * (part.near + part.far))
            made.append(Work(part, _copy(bytes_moved, stacked.device, far=part.far > 0)))
    return made


def _ways(
    layer: Product, kind: str, task: Task, network: Network, evaluated: float
) -> Callable[[Stacked], tuple[list[Kernel], float]]:
    """All kernels of a product, and how often a step calls one."""
    if kind == EVALUATION:
        images = min(network.evaluated_at_once, task.val_size)
        return lambda stacked: (list(kernels(layer, FORWARD, images, stacked)), evaluated / images)
    assert kind in (FORWARD, OF_WEIGHT, OF_INPUT), kind
    return lambda stacked: (list(kernels(layer, kind, task.batch_size, stacked)), 1.0)


def _copy(moved: int, device: torch.device, *, far: bool) -> Kernel:
    """What reads and writes so many bytes together; from ever other places if they are far."""
    size = max(1, moved // 8)  # of float32, half of them read

    def prepare() -> Call:
        source = torch.zeros(max(size, FAR // 4) if far else size, device=device)
        target = torch.zeros(size, device=device)
        places, at = len(source) // size, 0

        def call() -> None:
            nonlocal at
            target.copy_(source[at * size : (at + 1) * size])
            at = (at + 1) % places

        return call

    return Kernel("copy of as many bytes", prepare)


@dataclass
class FastestStep:
    """Runs steps that are nothing but their parts, for a row of the benchmark.

    Attributes:
        work: see :func:`step_work`.
        count: networks of a stack.
        threads: stacks at the same time, each on arrays of its own.
        steps: of each network in a :meth:`run`.
        device: where.
        spent: seconds of a network-step that each part takes, in each run, by its name.
    """

    work: list[Work]
    count: int
    threads: int
    steps: int
    device: torch.device
    spent: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Makes each thread's arrays."""
        # Each thread sets it for itself: MKL's setting belongs to a thread.
        self._pool = ThreadPoolExecutor(self.threads, initializer=torch.set_num_threads, initargs=(1,))
        self._calls = [[work.kernel.prepare() for work in self.work] for _ in range(self.threads)]

    @classmethod
    def of(
        cls, task: Task, network: Network, precision: str, evaluated: float, *,
        places: tuple[int, int, torch.device], tiny: bool = False,
    ) -> FastestStep:  # fmt: skip
        """The step of a task.

        Args:
            task: what is trained.
            network: its network.
            precision: ``fp32`` or ``bf16``.
            evaluated: images evaluated per training step.
            places: networks of a stack, stacks at the same time, and where.
            tiny: so short that the numbers mean nothing.
        """
        count, threads, device = places
        stacked = Stacked(count, DTYPES[precision], device)
        work = step_work(task, network, precision, evaluated, stacked, 1e-5 if tiny else 1e-3)
        return cls(work, count, threads, max(1, task.steps // 5), device)

    def run(self) -> int:
        """Does it for a while; gives the number of network-steps."""
        for number, work in enumerate(self.work):
            times = max(1, round(self.steps * work.share))
            spend = functools.partial(spent_on, calls=times, device=self.device)
            each = list(self._pool.map(spend, [own[number] for own in self._calls]))
            seconds = statistics.mean(each) * work.share / (self.count * self.threads)
            self.spent.setdefault(work.part.name, []).append(seconds)
        return self.steps * self.count * self.threads

    @property
    def of_each_run(self) -> list[float]:
        """Seconds of a network-step in each run but the first, which warms up."""
        return [sum(runs) for runs in zip(*self.spent.values(), strict=True)][1:]

    def found(self) -> dict[str, Any]:
        """Of all runs but the first, which warms up.

        Returns:
            ``networks`` of a stack, ``seconds`` of a network-step of all threads together, and ``parts``: by name
            ``kernel``, ``seconds``, and ``flops`` and ``bytes`` a second.
        """
        parts = {}
        for work in self.work:
            runs = self.spent[work.part.name]
            seconds = statistics.median(runs[1:] or runs)
            parts[work.part.name] = {
                "kernel": work.kernel.name,
                "seconds": seconds,
                "flops": work.part.flops / seconds,
                "bytes": (work.part.near + work.part.far) / seconds,
            }
        return {
            "networks": self.count,
            "seconds": sum(part["seconds"] for part in parts.values()),
            "parts": parts,
        }

    def close(self) -> None:
        """Ends its threads."""
        self._pool.shutdown()
