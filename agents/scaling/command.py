"""What ``python -m lambda_rl.agents.scaling`` does: time rollouts, keep the rows, sum up, fill the page."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tyro

from lambda_rl.agents.options import DataOptions
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.presets import PRESETS, preset
from lambda_rl.agents.presenting.markdown import fill_page, markdown_table
from lambda_rl.agents.record.provenance import provenance
from lambda_rl.agents.scaling.measure import Row, Travel, decisions_of, rows_of, text_of, travel
from lambda_rl.agents.scaling.model import LINKS, Costs, interpolated
from lambda_rl.checks import bounded_int
from lambda_rl.files import atomic_write

if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = tyro.extras.literal_type_from_choices(PRESETS)

MODELLED = (1, 2, 4, 8, 16, 32)
"""Workers that the page's table has, as far as there are slots for them."""


@dataclass(frozen=True)
class ScalingConfig(DataOptions):
    """Times rollouts of a training in this process and on workers of a cluster of this machine, and models the rest.

    Attributes:
        preset: of the training.
        out: folder for rows-PRESET.csv and costs-PRESET.json.
        workers: as many at most, in powers of two.
        steps: decisions of each slot in a rollout; 0: as the preset has it.
        rollouts: of each run, after one that starts everything and does not count.
        repeats: of each run, interleaved.
        compile: compile the training step, in each worker anew.
        page: Markdown page whose block of that preset is filled, such as docs/clusters.md; empty: none.
        measure: without it, the page is filled from what is there.
    """

    preset: PresetName = "cifar-mlp"
    out: Path = Path("docs/results/clusters")
    workers: int = 2
    steps: int = 0
    rollouts: int = 2
    repeats: int = 3
    compile: bool = False
    page: str = ""
    measure: bool = True


def measure_scaling(config: ScalingConfig) -> None:
    """Measures and writes.

    Raises:
        ValueError: an option is out of range, or ray is not installed.
    """
    for name, most in (("workers", 64), ("rollouts", 100), ("repeats", 100)):
        bounded_int(f"--{name}", getattr(config, name), 1, most)
    bounded_int("--steps", config.steps, 0, 1000)
    path = config.out / f"costs-{config.preset}.json"
    if config.measure:
        costs, rows = _measured(config)
        atomic_write(config.out / f"rows-{config.preset}.csv", text_of(rows))
        costs.save(path)
    costs = Costs.load(path)
    print(table(costs))
    if config.page:
        fill_page(Path(config.page), {config.preset: table(costs)})


def _measured(config: ScalingConfig) -> tuple[Costs, list[Row]]:
    base = _base(config)
    weighed, rows = travel(base), []  # type: Travel, list[Row]
    for repeat in range(config.repeats):
        sizes = [_resized(base.ppo, slots=count) for count in _powers(base.ppo.n_envs)]
        alone = [dataclasses.replace(base, ppo=ppo) for ppo in sizes]
        rows += [decisions_of(each, repeat) for each in (*alone, *_with_workers(config, base))]
        for each in (base, *_with_workers(config, base)):
            rows += rows_of(each, config.rollouts, repeat)
        print(f"{repeat + 1} of {config.repeats}", flush=True)
    return summed_up(rows, base, weighed), rows


def summed_up(rows: Sequence[Row], base: TrainConfig, weighed: Travel) -> Costs:
    """What rows come to."""
    slots, steps, told = base.ppo.n_envs, base.ppo.n_steps, provenance("cpu")

    def least(clock: str, workers: int, count: int = slots) -> float:
        return min(
            row.step_seconds for row in rows if (row.clock, row.workers, row.slots) == (clock, workers, count)
        )

    # Both parts of a rollout in one process wait for the same core: their ratio is that of a quiet one.
    shares = [
        row.learner_seconds / row.step_seconds for row in rows if row.clock == "wall" and not row.workers
    ]
    learner = float(np.median(shares)) * least("cpu", 0)
    workers = sorted({row.workers for row in rows})
    walls = {
        count: min(
            steps * row.step_seconds + row.learner_seconds
            for row in rows
            if row.clock == "wall" and row.workers == count
        )
        for count in workers
    }
    loads = [row.load for row in rows]
    return Costs(
        format_version=Costs.version,
        preset=base.preset,
        slots=slots,
        steps=steps,
        count=1 + max(row.repeat for row in rows),
        step_seconds={
            str(count): least("cpu", 0, count)
            for count in sorted({row.slots for row in rows if row.clock == "cpu"})
        },
        learner_seconds=learner,
        measured={str(count): steps * least("cpu", count) + learner for count in workers},
        walls={str(count): seconds for count, seconds in walls.items()},
        provenance={name: str(told[name]) for name in ("command", "commit", "time", "hardware")}
        | {"load": f"{min(loads):.1f} to {max(loads):.1f}"},
        **dataclasses.asdict(weighed),
    )


def _base(config: ScalingConfig) -> TrainConfig:
    """The training in this process, on one core."""
    base = preset(config.preset)
    ppo = base.ppo if not config.steps else _resized(base.ppo, steps=config.steps)
    return dataclasses.replace(
        base, data=config.data, data_root=config.data_root, compile=config.compile, threads=1, ppo=ppo
    )


def _resized(ppo: Any, **sizes: int) -> Any:
    """With as many minibatches of another size, lest they do not fit."""
    slots, steps = sizes.get("slots", ppo.n_envs), sizes.get("steps", ppo.n_steps)
    count = ppo.rollout_size // ppo.batch_size
    batch = slots * steps // count if slots * steps % count == 0 else slots * steps
    return dataclasses.replace(ppo, n_envs=slots, n_steps=steps, batch_size=batch)


def _with_workers(config: ScalingConfig, base: TrainConfig) -> list[TrainConfig]:
    counts = _powers(min(config.workers, os.cpu_count() or 1))
    return [dataclasses.replace(base, ray="local", ray_workers=count) for count in counts]


def _powers(most: int) -> list[int]:
    return [2**power for power in range(most.bit_length()) if 2**power <= most]


def table(costs: Costs) -> str:
    """Seconds of a rollout by workers: measured here, and by the model over several links."""
    rows: list[list[Any]] = [
        ["none", costs.slots, _ms(costs, costs.slots), *_seen(costs, 0), *[""] * len(LINKS)]
    ]
    for workers in (count for count in MODELLED if count <= costs.slots):
        fullest = -(-costs.slots // workers)
        modelled = [f"{costs.rollout(workers, link):.2f}" for link in LINKS]
        rows.append([workers, fullest, _ms(costs, fullest), *_seen(costs, workers), *modelled])
    told = costs.provenance
    head = [
        "workers",
        "slots of each",
        "c, ms",
        "measured",
        "by the clock",
        *(f"model: {link.name}" for link in LINKS),
    ]
    return (
        f"A rollout of {costs.slots} slots × {costs.steps} decisions, seconds. The learner's part: "
        f"{costs.learner_seconds:.2f} s. A decision of all slots sends {costs.step_bytes / 1e3:.1f} kB, a checkpoint "
        f"{costs.state_bytes / 1e6:.1f} MB; an empty call takes {1e3 * costs.call_seconds:.1f} ms here.\n\n"
        + markdown_table(head, rows)
        + f"\n`{told['command']}`, least of {costs.count}, commit {told['commit'][:7]}, {told['hardware']}, "
        f"load average {told['load']}.\n"
    )


def _ms(costs: Costs, slots: int) -> str:
    return f"{1e3 * interpolated(costs.step_seconds, slots):.1f}"


def _seen(costs: Costs, workers: int) -> list[str]:
    found = [each.get(str(workers)) for each in (costs.measured, costs.walls)]
    return ["" if seconds is None else f"{seconds:.2f}" for seconds in found]
