"""Times stacks of ever more networks on one device against one plain process there, and against its fastest kernels."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from rich.console import Console

from lambda_rl.agents.benchmark.accelerator.measure import Memory, captured_against_not, transfers
from lambda_rl.agents.benchmark.config import BenchmarkConfig
from lambda_rl.agents.benchmark.machine.achievable import FastestStep
from lambda_rl.agents.benchmark.opponents import Setting
from lambda_rl.agents.benchmark.opponents.plain import PlainLoop
from lambda_rl.agents.benchmark.ours import compare_with_fastest, evaluated_per_step, fastest_rows, our_rows
from lambda_rl.agents.benchmark.timed import ON_GPU, tiny
from lambda_rl.agents.benchmark.timing import Row, time_rows
from lambda_rl.envs.networks.cnn3 import CNN3
from lambda_rl.envs.networks.mlp import MLP
from lambda_rl.envs.networks.resnet9 import ResNet9
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig

AT = 64
"""Networks of a stack that targets are about, and at which more is measured than the speed."""

FEW = 8
"""Slots where their number makes no difference."""

RATIO, SHARE = "ratio", "share_of_fastest"

TARGETS = {MLP.name: (RATIO, 40.0), CNN3.name: (RATIO, 10.0), ResNet9.name: (SHARE, 0.4)}
"""What is promised of a stack of :data:`AT`: times the plain process, or the share of the fastest kernels in bf16."""


def accelerator(
    config: BenchmarkConfig, console: Console, keep: Callable[[dict[str, Any]], object] = lambda found: None
) -> dict[str, Any]:
    """Times the networks of ``--stack-networks``.

    Args:
        config: what is asked for.
        console: where to print.
        keep: called after each network with all that was found so far, for time on a GPU may run out.

    Returns:
        By network: ``task``, ``rows`` as of :func:`~lambda_rl.agents.benchmark.timing.time_rows` with ``networks``,
        ``bytes`` and ``ready_seconds`` (making it, with its first episode) of ours, ``captured`` by precision and
        ``transfers`` of a decision, ``fastest`` where its kernels were timed, ``failed``, what ran out of memory, and
        ``targets``.
    """
    found: dict[str, Any] = {}
    for name in config.stack_networks:
        most = ON_GPU[name].slots
        sizes = (2, 4) if config.self_test else tuple(n for n in config.stack_sizes if n <= most)
        found[name] = _network(name, sizes, config, console)
        keep(found)
    return found


def _network(name: str, sizes: tuple[int, ...], config: BenchmarkConfig, console: Console) -> dict[str, Any]:
    task = tiny(ON_GPU[name].task) if config.self_test else ON_GPU[name].task
    setting = config.any_setting(config.load_train(), sizes[0])
    at = AT if AT in sizes else sizes[-1]
    failed: list[str] = []
    rows: dict[str, Row] = {}
    extra: dict[str, dict[str, Any]] = {}
    steps: dict[str, FastestStep] = {}
    with ExitStack() as opened:
        if PlainLoop().supports(task):
            for label, row in PlainLoop().rows(task, setting):
                opened.callback(row.close)
                rows[label.replace(PlainLoop.label, "one plain process")] = row
        for label, row, more in _ours(task, setting, sizes, config, failed):
            opened.callback(row.close)
            rows[label], extra[label] = row, more
            console.print(f"{name}: {label}: ready after {more['ready_seconds']:.1f} s", markup=False)
        if TARGETS[name][0] == SHARE:
            evaluated = evaluated_per_step(task, setting)
            bf16 = dataclasses.replace(setting, slots=at, precisions=("bf16",))
            for label, row, step in fastest_rows(task, bf16, _options(config, "bf16"), evaluated):
                opened.callback(row.close)
                rows[label], steps["bf16"] = row, step
        timed: dict[str, dict[str, Any]] = dict(time_rows(rows, config.repeats, setting.device))
    for label, told in timed.items():
        told |= {"precision": rows[label].precision, **extra.get(label, {})}
    compare_with_fastest(timed, steps)
    found = {
        "task": dataclasses.asdict(task),
        "rows": timed,
        "failed": failed,
        **_beside(task, setting, config),
    }
    found["fastest"] = {precision: step.found() for precision, step in steps.items()}
    found["targets"] = _judge(name, at, timed)
    _show(name, found, console)
    return found


def _beside(task: Task, setting: Setting, config: BenchmarkConfig) -> dict[str, Any]:
    """What a few slots tell as well as many."""
    few = dataclasses.replace(setting, slots=min(FEW, setting.slots))
    return {
        "captured": {
            each: captured_against_not(task, few, _options(config, each))
            for each in _precisions(task, config)
        },
        "transfers": transfers(task, few, _options(config, config.precisions[-1])),
    }


def _precisions(task: Task, config: BenchmarkConfig) -> tuple[str, ...]:
    """Those of a network's rows; of large ones, which fill the memory, the last one alone."""
    return config.precisions if PlainLoop().supports(task) else config.precisions[-1:]


def _options(config: BenchmarkConfig, precision: str, **changes: Any) -> TrainerConfig:
    return TrainerConfig(device=config.device, precision=precision, **changes)


def _ours(
    task: Task, setting: Setting, sizes: tuple[int, ...], config: BenchmarkConfig, failed: list[str]
) -> Iterator[tuple[str, Row, dict[str, Any]]]:
    """(Label, row, what else is known of it), each made, and run once for its memory, when it is asked for."""
    at = AT if AT in sizes else sizes[-1]
    precisions = _precisions(task, config)
    for size in sizes:
        ways = [_options(config, precision) for precision in precisions]
        if size == at and PlainLoop().supports(task):
            ways.append(_options(config, precisions[-1], capture=False))
            if config.compile:
                ways.append(_options(config, precisions[-1], compile=True))
        for options in ways:
            memory, start = Memory(setting.device), time.perf_counter()
            ((label, row, _),) = our_rows(task, dataclasses.replace(setting, slots=size), [options])
            if not options.capture:
                label += ", not captured"
            try:
                row.run()
            except torch.cuda.OutOfMemoryError as error:
                failed.append(f"{label}: {' '.join(str(error).split())[:160]}")
                row.close()
                continue
            seconds = time.perf_counter() - start
            yield label, row, {"networks": size, "bytes": memory.bytes, "ready_seconds": seconds}


def _judge(name: str, at: int, rows: Mapping[str, Mapping[str, Any]]) -> list[dict[str, object]]:
    """What is promised, and what the best row of a stack of :data:`AT` reached."""
    key, least = TARGETS[name]
    reached = [row[key] for row in rows.values() if row.get("networks") == at and key in row]
    if not reached:
        return []
    what = (
        "times one plain process" if key == RATIO else "share of torch's fastest kernels at its shapes, bf16"
    )
    best = max(reached)
    return [{"what": f"N = {at}: {what}", "target": f"≥ {least:g}", "found": best, "met": best >= least}]


def _show(name: str, found: dict[str, Any], console: Console) -> None:
    for label, row in found["rows"].items():
        share = f", {row['share_of_fastest']:.0%} of the kernels" if "share_of_fastest" in row else ""
        memory = f", {row['bytes'] / 2**30:.2f} GiB" if "bytes" in row else ""
        console.print(
            f"{name}: {label}: {row['steps_per_second']:,.0f} network-steps/s, {row['ratio']:.2f}×{memory}{share}",
            markup=False,
        )
    console.print(f"{name}: captured {found['captured']}, transfers {found['transfers']}", markup=False)
    for line in (*found["failed"], *found["targets"]):
        console.print(f"{name}: {line}", markup=False)
