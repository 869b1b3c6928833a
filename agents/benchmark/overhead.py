"""Times a learned schedule against the training steps that it rides on, both inside one run."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import nn

from lambda_rl import ControlLaw, LearnedSchedule, Policy, PolicyCard, policy_from_arrays, split_parameters
from lambda_rl.agents.benchmark.targets import OVERHEAD
from lambda_rl.agents.benchmark.timed import RIDDEN
from lambda_rl.envs.networks import Network
from lambda_rl.envs.training.run import network_of
from lambda_rl.observation import FEATURES

INTERVAL = 20
"""Training steps between two calls of the schedule."""


class _Inner(nn.Module):
    """An inner network as an ordinary module."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        params, self.running = self.network.init(torch.Generator().manual_seed(0), torch.float32)
        self.weights = nn.ParameterDict({key.replace(".", "_"): value for key, value in params.items()})
        self.names = {key: key.replace(".", "_") for key in params}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        params = {name: self.weights[key].unsqueeze(0) for name, key in self.names.items()}
        running = {name: value.unsqueeze(0) for name, value in self.running.items()}
        prepared = self.network.prepared(params, torch.float32)
        images = self.network.arranged(x).unsqueeze(0)
        return self.network.forward(prepared, running, images, training=True)[0].T


def _policy() -> Policy:
    """A policy of the usual size whose weights are random: what it decides takes as long."""
    rng = np.random.default_rng(0)
    sizes = [len(FEATURES), 64, 64, 1]
    layers = [(0.1 * rng.normal(size=(b, a)), np.zeros(b)) for a, b in pairwise(sizes)]
    card = PolicyCard(knobs=(ControlLaw().knob,))
    return policy_from_arrays(
        obs_mean=np.zeros(len(FEATURES)), obs_var=np.ones(len(FEATURES)), layers=layers, card=card
    )


def _parts(name: str, intervals: int, decisions: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """(One training step, one call of the schedule)."""
    task = RIDDEN[name]
    network, batch = network_of(task, 10), task.batch_size
    model = _Inner(network)
    optimizer = torch.optim.SGD(split_parameters(model, 1e-4), lr=task.learning_rate, momentum=task.momentum)
    schedule = LearnedSchedule(
        optimizer, policy=_policy(), total_steps=intervals * INTERVAL, num_train=5000, val_size=500,
        num_classes=network.num_classes, batch_size=batch, decisions=decisions,
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, network.channels, task.resolution, task.resolution, generator=generator)
    y = torch.randint(network.num_classes, (batch,), generator=generator)
    loss = torch.zeros(())
    calls = 0

    def train() -> None:
        nonlocal loss
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def call() -> None:
        nonlocal calls
        calls += 1
        # Measuring the signals is the loop's own work; most loops do it anyway.
        schedule.step(
            progress=calls / intervals,
            train_loss=loss,
            val_loss=2.0,
            train_accuracy=0.5,
            val_accuracy=0.4,
        )

    return train, call


def overhead(
    networks: tuple[str, ...] = tuple(RIDDEN), repeats: int = 30, console: Console | None = None
) -> dict[str, dict[str, float]]:
    """Times training steps and calls of the schedule in turn, and prints a table of their ratios.

    Args:
        networks: which of :data:`~lambda_rl.agents.benchmark.timed.RIDDEN`, by label.
        repeats: intervals of :data:`INTERVAL` training steps, each with one call, in each of two runs.
        console: where to print.

    Returns:
        By label, medians: ``step_us``, ``decision_us`` and ``note_us``, the times of a training step, of a call
        that decides and of a call that only takes note of its signals, in microseconds; ``share``, the time of a
        call over that of its interval's steps where every call decides, the dearest case: a run of as many
        intervals as decisions; ``share_long``, the same in a run ten times as long.
    """
    results: dict[str, dict[str, float]] = {}
    for name in networks:
        if name not in RIDDEN:
            raise ValueError(f"unknown network {name!r} to time; allowed are {', '.join(RIDDEN)}")
        steps, decides = _time(*_parts(name, repeats + 1, repeats + 1), repeats)
        _, notes = _time(*_parts(name, 2 * repeats, 1), repeats)  # its one decision comes later
        share, note = float(np.median(decides / steps)), float(np.median(notes) / np.median(steps))
        results[name] = {
            "step_us": float(np.median(steps)) / INTERVAL * 1e6,
            "decision_us": float(np.median(decides)) * 1e6,
            "note_us": float(np.median(notes)) * 1e6,
            "share": share,
            "share_long": 0.1 * share + 0.9 * note,
        }
    table = Table(
        title=f"LearnedSchedule, one call each {INTERVAL} training steps (to cost at most {OVERHEAD:.0%})"
    )
    table.add_column("network")
    for heading in ("training step", "decision", "other call", "all decide", "one in ten decides"):
        table.add_column(heading, justify="right")
    for name, row in results.items():
        times = [f"{row[key]:,.0f} µs" for key in ("step_us", "decision_us", "note_us")]
        table.add_row(name, *times, f"{row['share']:.2%}", f"{row['share_long']:.2%}")
    (console or Console()).print(table)
    return results


def _time(
    train: Callable[[], None], call: Callable[[], None], repeats: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Seconds of the steps of each interval, and of the call after it."""
    rows = []
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(INTERVAL):
            train()
        middle = time.perf_counter()
        call()
        rows.append((middle - start, time.perf_counter() - middle))
    steps, calls = np.array(rows[1:]).T  # the first is a warm-up
    return steps, calls
