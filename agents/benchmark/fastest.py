"""How near our rows come to what torch's fastest kernels would take, measured in turn with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lambda_rl.agents.benchmark.machine.achievable import FastestStep
from lambda_rl.agents.benchmark.opponents import Setting
from lambda_rl.agents.benchmark.ours import OURS
from lambda_rl.agents.benchmark.timing import Row
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import Placement, TrainerConfig
from lambda_rl.envs.training.run import network_of

FASTEST = "fastest kernels"
"""What these rows begin with."""


def fastest_rows(
    task: Task, setting: Setting, config: TrainerConfig, evaluated: float
) -> Iterator[tuple[str, Row, FastestStep]]:
    """(Label, row, what it runs) for each precision, in stacks as large as ours, each made when it is asked for."""
    network = network_of(task, setting.images.num_classes, setting.images.images.shape[1])
    count = Placement(config).chunk_sizes(network, setting.slots)[0]
    for precision in setting.precisions:
        places = (count, setting.threads, setting.device)
        step = FastestStep.of(task, network, precision, evaluated, places=places, tiny=setting.tiny)
        yield f"{FASTEST}, {precision}", Row(step.run, close=step.close, precision=precision), step


def compare_with_fastest(timed: Mapping[str, dict[str, Any]], steps: Mapping[str, FastestStep]) -> None:
    """Adds to our rows their ``share_of_fastest``, by time, and ``cpu_share_of_fastest``, by this process's CPU time.

    Shares are taken repeat by repeat; the median counts. By CPU time what other processes take is left out, and so is
    the waiting of threads for each other; on one thread of a quiet machine both are the same.

    Args:
        timed: rows as timed, with their ``precision``.
        steps: by precision.
    """
    for label, row in timed.items():
        if not label.startswith(OURS) or row["precision"] not in steps:
            continue
        fastest = timed[f"{FASTEST}, {row['precision']}"]
        row["share_of_fastest"] = float(np.median(np.array(row["each"]) / np.array(fastest["each"])))
        step = steps[row["precision"]]
        least = np.array(step.of_each_run) * step.threads
        row["cpu_share_of_fastest"] = float(np.median(least / np.array(row["cpu"])))
