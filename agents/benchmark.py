"""Times the inner trainer against a plain PyTorch loop, and a schedule's overhead, all inside one run.

Machines are shared and drift, so only the ratios between rows of one run mean anything: the rows are timed in turn,
over and over, and the median of the ratios is what is reported.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import nn

from lambda_rl.agents.config import available_cores
from lambda_rl.agents.overhead import overhead
from lambda_rl.envs.data import ImageData, load_train
from lambda_rl.envs.suites import CNN, MLP
from lambda_rl.envs.tasks import Task
from lambda_rl.envs.trainer import Trainer, TrainerConfig
from lambda_rl.files import atomic_write

BUSY = 0.3
"""Share of the cores that other processes may use before the numbers are no longer believed."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """Times inner training: one plain PyTorch loop against the trainer with N fused runs.

    Attributes:
        data: what to train on; its content does not matter for the speed.
        repeats: interleaved repetitions.
        networks: which to time against the plain loop; may be none.
        device: of the trainer; the plain loop runs there too.
        overhead: also time a learned schedule against the training steps that it rides on (on the CPU).
        json: file for the results; empty: none.
        force: report even if the machine is busy.
    """

    data: str = "synthetic"
    repeats: int = 7
    networks: tuple[str, ...] = ("mlp", "cnn3")
    device: str = "cpu"
    overhead: bool = True
    json: str = ""
    force: bool = False


def naive_loop(task: Task, data: ImageData, device: torch.device) -> Callable[[], int]:
    """A strong plain loop: resident, normalised float images, ``torch.nn`` and ``torch.optim.SGD``, fp32."""
    images = data.images.to(device)
    if task.resolution != images.shape[-1]:
        images = F.avg_pool2d(images.float(), images.shape[-1] // task.resolution)
    images = (images.float() - 120.0) / 64.0
    labels = data.labels.to(device)
    if task.network == "mlp":
        inputs = 3 * task.resolution**2
        model: nn.Module = nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, task.width), nn.ReLU(), nn.Linear(task.width, data.num_classes)
        )
    else:
        flat = task.width * (task.resolution // 2) ** 2
        model = nn.Sequential(
            nn.Conv2d(3, task.width, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(flat, 4 * task.width), nn.ReLU(), nn.Linear(4 * task.width, data.num_classes),
        )  # fmt: skip
    model.to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=task.learning_rate, momentum=task.momentum, weight_decay=task.initial_lam
    )
    generator = torch.Generator().manual_seed(0)

    def interval() -> int:
        steps = task.boundary(1)
        for _ in range(steps):
            index = torch.randint(task.train_size, (task.batch_size,), generator=generator).to(device)
            loss = F.cross_entropy(model(images[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return steps

    return interval


def fused(task: Task, data: ImageData, config: TrainerConfig, count: int) -> Callable[[], int]:
    """``count`` runs through :meth:`Trainer.advance`, its measurements on validation images included."""
    trainer = Trainer(data, "agent", config)
    runs = [trainer.start(task.with_seed(seed)) for seed in range(count)]
    log_lam = np.full(count, np.log10(task.initial_lam))

    def interval() -> int:
        if runs[0].finished:
            runs[:] = [trainer.start(task.with_seed(seed)) for seed in range(count)]
        before = runs[0].step
        trainer.advance(runs, log_lam)
        return count * (runs[0].step - before)

    return interval


def benchmark(config: BenchmarkConfig, console: Console | None = None) -> dict[str, object]:
    """Times all rows, prints a table of network-steps per second and of ratios to the plain loop.

    Raises:
        ValueError: the machine is too busy to be believed (and ``force`` is not set).
    """
    console = console or Console()
    torch.set_num_threads(1)
    load, cores = os.getloadavg()[0], available_cores()
    if load > BUSY * cores and not config.force:
        raise ValueError(
            f"the machine is busy: load {load:.2f} on {cores} cores (at most {BUSY * cores:.1f} is believed); "
            "wait, or say --force"
        )
    data = load_train(config.data)
    device = torch.device(config.device)
    results: dict[str, object] = {
        "machine": {"processor": platform.processor() or platform.machine(), "cores": cores, "load": load},
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "config": dataclasses.asdict(config),
    }
    for name in config.networks:
        base = {"mlp": MLP, "cnn3": CNN}.get(name)
        if base is None:
            raise ValueError(f"unknown network {name!r} to time; allowed are mlp, cnn3")
        task = dataclasses.replace(base, train_size=2000, val_size=300)
        rows: dict[str, Callable[[], int]] = {"plain loop, fp32": naive_loop(task, data, device)}
        for precision in ("fp32", "bf16"):
            for count, threads in ((1, 1), (16, 1), (16 * cores, cores)):
                label = f"trainer, {precision}, N={count}, threads={threads}"
                rows[label] = fused(task, data, TrainerConfig(config.device, precision, threads), count)
        results[name] = _time(rows, config.repeats)
        _show(name, results[name], console)  # type: ignore[arg-type]
    if config.overhead:
        results["overhead"] = overhead(console=console)
    if config.json:
        atomic_write(Path(config.json), json.dumps(results, indent=1) + "\n")
    return results


def _time(rows: dict[str, Callable[[], int]], repeats: int) -> dict[str, dict[str, float]]:
    """Median and spread of network-steps/s of each row, and of its ratio to the first, repeat by repeat."""
    speed: dict[str, list[float]] = {label: [] for label in rows}
    for repeat in range(repeats + 1):
        for label, interval in rows.items():
            start = time.perf_counter()
            steps = interval()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            if repeat:  # the first is a warm-up
                speed[label].append(steps / (time.perf_counter() - start))
    first = np.array(next(iter(speed.values())))
    return {
        label: {
            "steps_per_second": float(np.median(values)),
            "lowest": min(values),
            "highest": max(values),
            "ratio": float(np.median(np.array(values) / first)),
        }
        for label, values in speed.items()
    }


def _show(name: str, rows: dict[str, dict[str, float]], console: Console) -> None:
    table = Table(title=f"{name}: network-steps/s, evaluation included")
    table.add_column("what")
    for heading in ("median", "lowest", "highest", "ratio"):
        table.add_column(heading, justify="right")
    for label, row in rows.items():
        numbers = [f"{row[key]:,.0f}" for key in ("steps_per_second", "lowest", "highest")]
        table.add_row(label, *numbers, f"{row['ratio']:.2f}")
    console.print(table)
