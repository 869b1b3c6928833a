"""Times our environment against others and against what the machine could do, all inside one run.

Machines are shared and drift, so only the ratios between rows of one run mean anything: the rows are timed in turn,
over and over, and the median of the ratios is what is reported. Every row trains the same task with the same decisions,
evaluations and resets:

* SB3's ``SubprocVecEnv`` with a strong plain loop in each process (:mod:`.plain`), in fp32 and in bf16,
* ``torch.func`` ensembling (:mod:`.ensembling`),
* DACBench's SGD environment, where it is installed (:mod:`.dacbench_opponent`),
* our vector environment as SB3 drives it (:mod:`.ours`), and
* the floor: what a step would take at the measured peaks (:mod:`.roofline`).
"""

from __future__ import annotations

import dataclasses
import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from lambda_rl.agents.benchmark.calibrate import calibrate
from lambda_rl.agents.benchmark.machine import (
    BUSY,
    OthersMeter,
    Peaks,
    check_quiet,
    describe,
    measure_peaks,
    others_share,
)
from lambda_rl.agents.benchmark.opponents.dacbench_opponent import dacbench, find_python
from lambda_rl.agents.benchmark.opponents.ensembling import ensemble
from lambda_rl.agents.benchmark.opponents.plain import TIMED, subprocesses
from lambda_rl.agents.benchmark.ours import own_cost, recompilations, vector_env
from lambda_rl.agents.benchmark.overhead import overhead
from lambda_rl.agents.benchmark.page import publish
from lambda_rl.agents.benchmark.precision import precision_gap
from lambda_rl.agents.benchmark.report import (
    DACBENCH,
    ENSEMBLE,
    NAIVE,
    OURS,
    judge,
    show_machine,
    show_network,
)
from lambda_rl.agents.benchmark.roofline import evaluations_per_step, floor
from lambda_rl.agents.benchmark.scaling import anatomy, draw_scaling
from lambda_rl.agents.benchmark.timing import Row, time_rows
from lambda_rl.agents.presenting.style import png
from lambda_rl.envs.data import ImageData, load_test, load_train
from lambda_rl.envs.data.split import split_data
from lambda_rl.envs.hardware.calibration import keep_sizes
from lambda_rl.envs.hardware.device import available_cores, resolve_device
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.files import atomic_write

OPPONENTS = ("subproc", "vmap", "dacbench")

_MLP, _CNN = (load_suite(f"{name}-validation").tasks[0] for name in ("cifar-mlp", "cifar-cnn"))
_CNN = dataclasses.replace(_CNN, steps=180, decisions=6)  # as long an interval, a shorter episode
TASKS: dict[str, Task] = {
    task.network: dataclasses.replace(task, train_size=2000, val_size=300) for task in (_MLP, _CNN)
}
"""What is timed, by network: the tasks of the presets, with a usual number of images."""

SLOTS = {"mlp": 64, "cnn3": 8}
"""Slots of our environment where none are asked for; a convolutional network is trained alone on a CPU."""


@dataclass(frozen=True)
class BenchmarkConfig:
    """Times our environment against plain loops in processes, vmap, DACBench and the machine's own limits.

    Attributes:
        data: what to train on; its content does not matter for the speed.
        repeats: interleaved repetitions, after one that warms up.
        networks: which to time (mlp, cnn3); may be none.
        opponents: which to time besides ours (subproc, vmap, dacbench); may be none.
        slots: inner runs side by side in our environment; 0 chooses.
        width: of the networks; 0: that of the presets.
        outer_size: images that the reward is taken on at a decision.
        compile: time the compiled training step too, and count recompilations.
        device: of all rows but DACBench's.
        dacbench_python: a Python that has dacbench; empty: this one, if it has.
        calibrate: first measure which sizes of stacks are fastest here, and keep them for all runs to come.
        precision_seeds: also train this many runs in fp32 and in bf16 and compare their final accuracies; 0: none.
        anatomy: also measure what a decision is made of and how its cost grows, with a figure beside the JSON file.
        overhead: also time a learned schedule against the training steps that it rides on (on the CPU).
        json: file for the results; empty: none.
        page: page whose blocks are filled out of the files beside that of ``json``; empty: none.
        force: report even if the machine is busy.
        self_test: everything so small that the numbers mean nothing.
    """

    data: str = "synthetic"
    repeats: int = 5
    networks: tuple[str, ...] = TIMED
    opponents: tuple[str, ...] = OPPONENTS
    slots: int = 0
    width: int = 0
    outer_size: int = 300
    compile: bool = True
    device: str = "cpu"
    dacbench_python: str = ""
    calibrate: bool = False
    precision_seeds: int = 0
    anatomy: bool = False
    overhead: bool = True
    json: str = ""
    page: str = ""
    force: bool = False
    self_test: bool = False

    def __post_init__(self) -> None:
        """Checks names and numbers."""
        for kind, names, allowed in (
            ("network", self.networks, TIMED), ("opponent", self.opponents, OPPONENTS),
        ):  # fmt: skip
            for name in names:
                if name not in allowed:
                    raise ValueError(f"unknown {kind} {name!r} to time; allowed are {', '.join(allowed)}")
        for name, least in (
            ("repeats", 1), ("outer_size", 1), ("slots", 0), ("width", 0), ("precision_seeds", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.page and not (self.json and Path(self.page).is_file()):
            raise ValueError(
                f"--page {self.page} wants a page that is there, and --json for the files it is made of"
            )

    def task(self, name: str) -> Task:
        """What is timed of a network."""
        task = TASKS[name]
        if self.self_test:
            task = dataclasses.replace(
                task, width=4, batch_size=8, steps=6, decisions=3, train_size=40, val_size=20
            )
        return dataclasses.replace(task, width=self.width) if self.width else task

    def slots_of(self, name: str) -> int:
        """Inner runs side by side in our environment."""
        return self.slots or (4 if self.self_test else SLOTS[name])


def benchmark(config: BenchmarkConfig, console: Console | None = None) -> dict[str, Any]:
    """Times everything that is asked for, prints tables, writes the JSON file.

    Returns:
        What the file holds: ``machine``, ``versions``, ``config``, ``others`` (the share of the cores that other
        processes used before and meanwhile), ``believed`` (that this was little), ``peaks`` by number of threads,
        ``networks`` by name (``task``, ``floor``, ``rows``, ``own_cost``, ``skipped``, ``targets``),
        ``recompilations`` and ``overhead``.

    Raises:
        ValueError: the machine is too busy to be believed (and ``force`` is not set), before or while it was timed.
    """
    console = console or Console()
    torch.set_num_threads(1)
    device = resolve_device(config.device)
    others = {"before": others_share(0.1 if config.self_test else 1.0)}
    if not config.force:
        check_quiet(others["before"], "just now")
    meter = OthersMeter()
    results: dict[str, Any] = {
        "machine": describe(device),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "config": _shown(config),
        "others": others,
    }
    if config.networks:
        data = load_train(config.data)
        cores = available_cores() if device.type == "cpu" else 1
        seconds = 0.01 if config.self_test else 0.2
        peaks = {
            threads: measure_peaks(threads, device, seconds=seconds, tiny=config.self_test)
            for threads in sorted({1, cores})
        }
        results["peaks"] = {str(threads): dataclasses.asdict(peak) for threads, peak in peaks.items()}
        show_machine(results, console)
        results["networks"] = {}
        if config.calibrate:
            results["calibration"] = _calibrate(config, data, console)
        for name in config.networks:
            found = _network(name, config, data, device, peaks[cores])
            results["networks"][name] = found
            show_network(name, found, console)
        if config.compile and "mlp" in config.networks:
            size = {"changes": 20, "resets": 4} if config.self_test else {}
            counted = recompilations(data, **size)
            results["recompilations"] = counted
            console.print(
                f"recompilations over {counted['changes']} changes of λ and {counted['resets']} resets: "
                f"{counted['recompilations']}"
            )
    if config.precision_seeds:
        results["precision"] = {name: _precision(name, config, data, console) for name in config.networks}
    if config.anatomy:
        results["anatomy"] = {name: _anatomy(name, config, data) for name in config.networks}
    if config.overhead:
        results["overhead"] = overhead(console=console)
    others["meanwhile"] = meter.share()
    if not config.force:
        check_quiet(others["meanwhile"], "while it was timed")
    results["believed"] = max(others.values()) <= BUSY and not config.self_test
    if not results["believed"]:
        console.print(
            f"these numbers are not to be believed: other processes used {max(others.values()):.0%} of the cores"
            + (", and it was a self-test" if config.self_test else "")
        )
    if config.json:
        path = Path(config.json)
        atomic_write(path, json.dumps(results, indent=1) + "\n")
        for name, found in results.get("anatomy", {}).items():
            atomic_write(path.with_name(f"{path.stem}-{name}.png"), png(draw_scaling(found["scaling"])))
        if config.page:
            publish(Path(config.page), path.parent)
    return results


def _shown(config: BenchmarkConfig) -> dict[str, Any]:
    """The options without paths of this machine."""
    kind, _, path = config.data.partition(":")
    data = f"{kind}:{Path(path).name}" if kind == "folder" else config.data
    return {**dataclasses.asdict(config), "data": data, "dacbench_python": "", "json": "", "page": ""}


def _calibrate(config: BenchmarkConfig, data: ImageData, console: Console) -> dict[str, dict[int, float]]:
    """Network-steps a second by kind and size of stack; the best sizes are kept."""
    speeds = {}
    for name in config.networks:
        for precision in ("fp32", "bf16"):
            for compiled in (False, True) if config.compile else (False,):
                options = TrainerConfig(config.device, precision, available_cores(), compile=compiled)
                sizes = (2, 4) if config.self_test else ()
                kind, found = calibrate(data, config.task(name), options, sizes=sizes)
                speeds[kind] = found
                shown = ", ".join(f"{size}: {speed:,.0f}" for size, speed in found.items())
                console.print(f"{kind}: network-steps/s by size of a stack: {shown}")
    best = {kind: max(found, key=found.__getitem__) for kind, found in speeds.items()}
    console.print(f"kept in {keep_sizes(best)}")
    return speeds


def _precision(name: str, config: BenchmarkConfig, data: ImageData, console: Console) -> dict[str, Any]:
    """Final accuracies in both precisions."""
    options = TrainerConfig(config.device, threads=available_cores(), compile=config.compile)
    found = precision_gap(data, load_test(config.data), config.task(name), config.precision_seeds, options)
    low, high = found["interval"]
    console.print(
        f"{name}: test accuracy in bf16 minus fp32, {config.precision_seeds} seeds: {100 * found['difference']:+.2f} "
        f"points, 95 % [{100 * low:+.2f}, {100 * high:+.2f}]"
    )
    return found


def _anatomy(name: str, config: BenchmarkConfig, data: ImageData) -> dict[str, Any]:
    """What a decision is made of: not compiled in fp32, and compiled in bf16 if anything is compiled."""
    cores = available_cores() if config.device == "cpu" else 1
    options = {"fp32": TrainerConfig(config.device, "fp32", cores)}
    if config.compile:
        options["bf16, compiled"] = TrainerConfig(config.device, "bf16", cores, compile=True)
    return anatomy(
        data, config.task(name), config.outer_size, config.slots_of(name), options, tiny=config.self_test
    )


def _rows(
    name: str, config: BenchmarkConfig, data: ImageData, device: torch.device
) -> tuple[dict[str, Row], dict[str, str], list[str], dict[str, Any]]:
    """(Rows, their precisions, what is left out and why, versions of DACBench and its torch)."""
    task, outer = config.task(name), config.outer_size
    cores = available_cores() if device.type == "cpu" else 1
    processes = 1 if config.self_test else cores
    slots = config.slots_of(name)
    rows: dict[str, Row] = {}
    precisions: dict[str, str] = {}
    skipped: list[str] = []
    versions: dict[str, Any] = {}

    def add(label: str, precision: str, row: Row) -> None:
        rows[label], precisions[label] = row, precision

    if "subproc" in config.opponents:
        for precision in ("fp32", "bf16"):
            row = subprocesses(config.data, task, precision, outer, processes=processes, device=config.device)
            add(f"{NAIVE}, {precision}", precision, row)
    if "vmap" in config.opponents:
        count = min(slots, 16) if device.type == "cuda" or task.network == "mlp" else min(slots, 4)
        row = ensemble(config.data, task, "fp32", outer, count=count, threads=cores, device=config.device)
        add(f"{ENSEMBLE}, fp32, N={count}", "fp32", row)
    if "dacbench" in config.opponents:
        python = find_python(config.dacbench_python)
        if python is None:
            skipped.append(
                "DACBench is not installed: pip install 'lambda-rl[bench]', or give --dacbench-python"
            )
        else:
            decisions = 1 if config.self_test else 3
            row, versions = dacbench(python, data, task, outer, processes=processes, decisions=decisions)
            add(DACBENCH, "fp32", row)
    for compiled in (False, True):
        if compiled and not config.compile:
            continue
        for precision in ("fp32", "bf16"):
            options = TrainerConfig(config.device, precision, cores, compile=compiled)
            label = f"{OURS}, {precision}{', compiled' if compiled else ''}, N={slots}"
            add(label, precision, vector_env(data, task, outer, slots, options))
    return rows, precisions, skipped, versions


def _network(
    name: str, config: BenchmarkConfig, data: ImageData, device: torch.device, peaks: Peaks
) -> dict[str, Any]:
    """All that is found out about one network."""
    task = config.task(name)
    evaluated = evaluations_per_step(
        task, config.outer_size, len(split_data(len(data.labels), "agent").outer_val)
    )
    floors = {p: floor(task, data.num_classes, p, evaluated, peaks) for p in ("fp32", "bf16")}
    rows, precisions, skipped, versions = _rows(name, config, data, device)
    try:
        timed: dict[str, dict[str, Any]] = dict(time_rows(rows, config.repeats, device))
    finally:
        for row in rows.values():
            row.close()
    for label, row_found in timed.items():
        precision = precisions[label]
        row_found["precision"] = precision
        speed, model = row_found["steps_per_second"], floors[precision]
        row_found["share_of_floor"] = speed * model["seconds"]
        row_found["share_of_peak"] = speed * model["flops"] / peaks.flops[precision]
    found: dict[str, Any] = {
        "task": dataclasses.asdict(task),
        "outer_size": config.outer_size,
        "evaluated_per_step": evaluated,
        "floor": floors,
        "rows": timed,
        "skipped": skipped,
        "dacbench": versions,
    }
    best = max(
        (label for label in timed if label.startswith(OURS)), key=lambda x: timed[x]["steps_per_second"]
    )
    options = TrainerConfig(config.device, precisions[best], peaks.threads, compile="compiled" in best)
    episodes = 1 if config.self_test else 3
    found["own_cost"] = own_cost(
        data, task, config.outer_size, config.slots_of(name), options, episodes=episodes
    )
    found["own_cost"]["row"] = best
    found["targets"] = judge(name, found)
    return found
