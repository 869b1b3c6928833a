"""Times our environment against others and against what the machine could do, all inside one run.

Machines are shared and drift, so only the ratios between rows of one run mean anything: the rows are timed in turn,
over and over, and the median of the ratios is what is reported. Every row trains the same task (:mod:`.timed`) with the
same decisions, evaluations and resets:

* what others do (:mod:`.opponents`),
* our vector environment as SB3 drives it (:mod:`.ours`), and
* the floor: what a step would take at the measured peaks (:mod:`.machine.roofline`), and what torch's fastest kernels
  would take for it (:mod:`.machine.achievable`).
"""

from __future__ import annotations

import dataclasses
import json
import platform
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from lambda_rl.agents.benchmark.accelerator.rows import accelerator
from lambda_rl.agents.benchmark.calibrate import calibrate
from lambda_rl.agents.benchmark.config import BenchmarkConfig
from lambda_rl.agents.benchmark.deployed.cost import deployed
from lambda_rl.agents.benchmark.deployed.loops import LOOPS
from lambda_rl.agents.benchmark.machine.achievable import FastestStep
from lambda_rl.agents.benchmark.machine.load import BUSY, OthersMeter, check_quiet, others_share
from lambda_rl.agents.benchmark.machine.peaks import Peaks, describe, measure_peaks
from lambda_rl.agents.benchmark.machine.roofline import floor
from lambda_rl.agents.benchmark.mixture.timed import mixture
from lambda_rl.agents.benchmark.opponents import OPPONENTS, Setting
from lambda_rl.agents.benchmark.ours import (
    compare_with_fastest,
    evaluated_per_step,
    fastest_rows,
    our_rows,
    own_cost,
    recompilations,
)
from lambda_rl.agents.benchmark.page import publish
from lambda_rl.agents.benchmark.precision import precision_gap
from lambda_rl.agents.benchmark.report import show_machine, show_network
from lambda_rl.agents.benchmark.scaling import anatomy, draw_scaling
from lambda_rl.agents.benchmark.targets import judge, judge_deployed
from lambda_rl.agents.benchmark.timing import Row, time_rows
from lambda_rl.agents.presenting.style import png
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.hardware.calibration import keep_sizes
from lambda_rl.envs.hardware.device import resolve_device
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import network_of
from lambda_rl.files import atomic_write


def benchmark(config: BenchmarkConfig, console: Console | None = None) -> dict[str, Any]:
    """Times everything that is asked for, prints tables, writes the JSON file.

    Returns:
        What the file holds: ``machine``, ``versions``, ``config``, ``others`` (the share of the cores that other
        processes used before and meanwhile), ``believed`` (that this was little), ``peaks`` by number of threads,
        ``networks`` by name (``task``, ``floor``, ``fastest``, ``rows``, ``own_cost``, ``skipped``,
        ``targets``),
        ``recompilations``, ``mixture`` and ``deployed`` (``rows``, ``targets``), ``stacks`` by network, see
        :func:`~lambda_rl.agents.benchmark.accelerator.rows.accelerator`.

    Raises:
        ValueError: a bad option; or the machine is too busy to be believed (and ``force`` is not set), before or while
            it was timed.
    """
    config.check()
    console = console or Console()
    torch.set_num_threads(1)
    others = {"before": others_share(0.1 if config.self_test else 1.0)}
    if not config.force:
        check_quiet(others["before"], "just now")
    meter = OthersMeter()
    results: dict[str, Any] = {
        "machine": describe(resolve_device(config.device)),
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "config": config.shown(),
        "others": others,
    }
    if config.networks:
        _time_networks(config, results, console)
    if config.mixture:
        results["mixture"] = mixture(config.any_setting(config.load_train()), config.repeats, console)
    if config.stacks:
        results["stacks"] = accelerator(
            config, console, lambda found: _keep(config, {**results, "stacks": found})
        )
    if config.deployed:
        results["deployed"] = _deployed(config, console)
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
        _write(config, results)
    return results


def _keep(config: BenchmarkConfig, results: dict[str, Any]) -> None:
    """Writes what there is so far."""
    if config.json:
        atomic_write(Path(config.json), json.dumps(results, indent=1) + "\n")


def _write(config: BenchmarkConfig, results: dict[str, Any]) -> None:
    """The JSON file, the figures beside it, and the page."""
    path = Path(config.json)
    atomic_write(path, json.dumps(results, indent=1) + "\n")
    for name, found in results.get("anatomy", {}).items():
        atomic_write(path.with_name(f"{path.stem}-{name}.png"), png(draw_scaling(found["scaling"])))
    if config.page:
        publish(Path(config.page), path.parent)


def _time_networks(config: BenchmarkConfig, results: dict[str, Any], console: Console) -> None:
    """All that is about networks, into ``results``."""
    data = config.load_train()
    settings = {name: config.setting(name, data) for name in config.networks}
    any_setting = settings[config.networks[0]]
    peaks = {
        threads: measure_peaks(
            threads, any_setting.device, seconds=0.01 if config.self_test else 0.2, tiny=config.self_test
        )
        for threads in sorted({1, any_setting.threads})
    }
    results["peaks"] = {str(threads): dataclasses.asdict(peak) for threads, peak in peaks.items()}
    show_machine(results, console)
    if config.calibrate:
        results["calibration"] = _calibrate(config, data, console)
    results["networks"] = {}
    for name, setting in settings.items():
        results["networks"][name] = _time_network(name, config, setting, peaks[setting.threads])
        show_network(name, results["networks"][name], console)
    if config.compile:
        results["recompilations"] = _recompilations(config, any_setting, console)
    if config.precision_seeds:
        results["precision"] = {name: _precision(name, config, data, console) for name in config.networks}
    if config.anatomy:
        results["anatomy"] = {
            name: _anatomy(config.task(name), config, setting) for name, setting in settings.items()
        }


def _time_network(name: str, config: BenchmarkConfig, setting: Setting, peaks: Peaks) -> dict[str, Any]:
    """All that is found out about one network."""
    task, data = config.task(name), setting.images
    evaluated = evaluated_per_step(task, setting)
    network = network_of(task, data.num_classes, data.images.shape[1])
    floors = {each: floor(task, network, each, evaluated, peaks) for each in config.precisions}
    rows: dict[str, Row] = {}
    ours: dict[str, TrainerConfig] = {}
    fastest: dict[str, FastestStep] = {}
    skipped = []
    with ExitStack() as opened:
        for opponent in map(OPPONENTS.get, config.opponents):
            why = opponent.missing(setting)
            if why or not opponent.supports(task):
                skipped.append(why or f"{opponent.label} cannot train {task.name}")
                continue
            for label, row in opponent.rows(task, setting):
                opened.callback(row.close)
                rows[label] = row
        for label, row, options in our_rows(task, setting, config.all_options):
            opened.callback(row.close)
            rows[label], ours[label] = row, options
        if config.floor:
            for label, row, step in fastest_rows(task, setting, config.all_options[-1], evaluated):
                opened.callback(row.close)
                rows[label], fastest[row.precision] = row, step
        timed: dict[str, dict[str, Any]] = dict(time_rows(rows, config.repeats, setting.device))
    for label, found in timed.items():
        precision, speed = rows[label].precision, found["steps_per_second"]
        model = floors[precision]
        found |= {
            "precision": precision,
            "share_of_floor": speed * model["seconds"],
            "share_of_peak": speed * model["flops"] / peaks.flops[precision],
        }
    compare_with_fastest(timed, fastest)
    best = max(ours, key=lambda label: timed[label]["steps_per_second"])
    result: dict[str, Any] = {
        "task": dataclasses.asdict(task),
        "outer_size": setting.outer_size,
        "evaluated_per_step": evaluated,
        "floor": floors,
        "fastest": {precision: step.found() for precision, step in fastest.items()},
        "rows": timed,
        "skipped": skipped,
        "versions": {label: dict(row.versions) for label, row in rows.items() if row.versions},
        "own_cost": {**own_cost(task, setting, ours[best]), "row": best},
    }
    return {**result, "targets": judge(name, result)}


def _deployed(config: BenchmarkConfig, console: Console) -> dict[str, Any]:
    """What a schedule costs who deploys it."""
    size: dict[str, Any] = {"loops": tuple(LOOPS)[:1], "repeats": 2} if config.self_test else {}
    compiled = (False, True) if config.compile and not config.self_test else (False,)
    rows = deployed(device=resolve_device(config.device), compiled=compiled, console=console, **size)
    return {"rows": rows, "targets": judge_deployed(rows)}


def _calibrate(config: BenchmarkConfig, data: ImageData, console: Console) -> dict[str, dict[int, float]]:
    """Network-steps a second by kind and size of stack; the best sizes are kept, but for those of a self-test."""
    speeds = {}
    for name in config.networks:
        for options in config.all_options:
            sizes = (2, 4) if config.self_test else ()
            kind, found = calibrate(data, config.task(name), options, sizes=sizes)
            speeds[kind] = found
            shown = ", ".join(f"{size}: {speed:,.0f}" for size, speed in found.items())
            console.print(f"{kind}: network-steps/s by size of a stack: {shown}")
    if not config.self_test:
        best = {kind: max(found, key=found.__getitem__) for kind, found in speeds.items()}
        console.print(f"kept in {keep_sizes(best)}")
    return speeds


def _recompilations(config: BenchmarkConfig, setting: Setting, console: Console) -> dict[str, Any]:
    """How often the first network compiles again."""
    size = {"changes": 20, "resets": 4} if setting.tiny else {}
    counted = recompilations(config.networks[0], setting, **size)
    console.print(
        f"recompilations over {counted['changes']} changes of λ and {counted['resets']} resets: "
        f"{counted['recompilations']}"
    )
    return {"network": config.networks[0], **counted}


def _precision(name: str, config: BenchmarkConfig, data: ImageData, console: Console) -> dict[str, Any]:
    """Final accuracies in both precisions."""
    found = precision_gap(data, config.load_test(), config.task(name), config.precision_seeds, config.trainer)
    low, high = found["interval"]
    console.print(
        f"{name}: test accuracy in bf16 minus fp32, {config.precision_seeds} seeds: {100 * found['difference']:+.2f} "
        f"points, 95 % [{100 * low:+.2f}, {100 * high:+.2f}]"
    )
    return found


def _anatomy(task: Task, config: BenchmarkConfig, setting: Setting) -> dict[str, Any]:
    """What a decision is made of: not compiled in fp32, and compiled in bf16 if anything is compiled."""
    trainer = dataclasses.replace(config.trainer, threads=setting.threads)
    options = {"fp32": dataclasses.replace(trainer, precision="fp32", compile=False)}
    if config.compile:
        options["bf16, compiled"] = dataclasses.replace(trainer, precision="bf16")
    return anatomy(task, setting, options)
