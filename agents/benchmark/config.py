"""What a benchmark is asked for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lambda_rl.agents.benchmark.machine.peaks import DTYPES
from lambda_rl.agents.benchmark.opponents import OPPONENTS, Setting
from lambda_rl.agents.benchmark.timed import ON_GPU, TIMED, tiny
from lambda_rl.agents.options import MOST, ComputeOptions, DataOptions
from lambda_rl.checks import bounded_int
from lambda_rl.envs.data import ImageData
from lambda_rl.envs.hardware.device import resolve_device
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig


@dataclass(frozen=True)
class BenchmarkConfig(ComputeOptions, DataOptions):
    """Times our environment against plain loops in processes, vmap, DACBench and the machine's own limits.

    Attributes:
        precision: auto times both fp32 and bf16; else the one to time.
        compile: time the compiled training step too, and count recompilations.
        device: of all rows but DACBench's.
        repeats: interleaved repetitions, after one that warms up.
        networks: which to time; may be none.
        opponents: which to time besides ours; may be none.
        slots: inner runs side by side in our environment; 0 chooses.
        width: of the networks; 0: that of the presets.
        outer_size: images that the reward is taken on at a decision.
        dacbench_python: a Python that has dacbench; empty: this one, if it has.
        calibrate: first measure which sizes of stacks are fastest here, and keep them for all runs to come.
        precision_seeds: also train this many runs in fp32 and in bf16 and compare their final accuracies; 0: none.
        anatomy: also measure what a decision is made of and how its cost grows, with a figure beside the JSON file.
        floor: also time what torch's fastest kernels take at exactly the shapes of a step, in turn with our rows.
        mixture: also time the broad mixture, against plain loops in processes and its own kinds alone.
        stacks: also time stacks of ever more networks on the device, which is to be a GPU, with their memory and
            what passes between it and the processor.
        stack_sizes: how many networks these stacks have.
        stack_networks: of which kinds.
        deployed: also time the shipped policy in plain loops: what it adds to their steps.
        json: file for the results; empty: none.
        page: page whose blocks are filled out of the files beside that of --json; empty: none.
        force: report even if the machine is busy.
        self_test: everything so small that the numbers mean nothing.
    """

    precision: str = "auto"
    compile: bool = True
    device: str = "cpu"
    repeats: int = 5
    networks: tuple[str, ...] = tuple(TIMED)
    opponents: tuple[str, ...] = OPPONENTS.names()
    slots: int = 0
    width: int = 0
    outer_size: int = 300
    dacbench_python: str = ""
    calibrate: bool = False
    precision_seeds: int = 0
    anatomy: bool = False
    floor: bool = False
    mixture: bool = False
    stacks: bool = False
    stack_sizes: tuple[int, ...] = (16, 64, 256, 1024)
    stack_networks: tuple[str, ...] = tuple(ON_GPU)
    deployed: bool = True
    json: str = ""
    page: str = ""
    force: bool = False
    self_test: bool = False

    def check(self) -> None:
        """See :meth:`ComputeOptions.check`."""
        super().check()
        for names, known in ((self.networks, TIMED), (self.stack_networks, ON_GPU)):
            for name in names:
                if name not in known:
                    raise ValueError(f"unknown network {name!r} to time; allowed are {', '.join(known)}")
        for name in self.opponents:
            OPPONENTS.get(name)
        for name, least in (
            ("repeats", 1), ("outer_size", 1), ("slots", 0), ("width", 0), ("precision_seeds", 0),
        ):  # fmt: skip
            bounded_int(f"--{name.replace('_', '-')}", getattr(self, name), least, MOST)
        for size in self.stack_sizes:
            bounded_int("--stack-sizes", size, 1, MOST)
        if self.stacks and not (self.stack_sizes and min(self.stack_sizes) <= 64):
            raise ValueError(
                "--stacks wants a --stack-sizes of at most 64, for residual networks go no further"
            )
        if self.precision not in ("auto", *DTYPES):
            raise ValueError(
                f"--precision must be auto, {' or '.join(DTYPES)} to be timed; got {self.precision!r}"
            )
        if self.page and not (self.json and Path(self.page).is_file()):
            raise ValueError(
                f"--page {self.page} wants a page that is there, and --json for the files it is made of"
            )

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that are timed."""
        return tuple(DTYPES) if self.precision == "auto" else (self.precision,)

    @property
    def all_options(self) -> list[TrainerConfig]:
        """All ways in which our environment is timed."""
        return [
            dataclasses.replace(self.trainer, precision=precision, compile=compiled)
            for compiled in ((False, True) if self.compile else (False,))
            for precision in self.precisions
        ]

    def task(self, name: str) -> Task:
        """What is timed of a network."""
        task = tiny(TIMED[name].task) if self.self_test else TIMED[name].task
        return dataclasses.replace(task, width=self.width) if self.width else task

    def setting(self, name: str, images: ImageData) -> Setting:
        """What the rows of a network have in common."""
        return self.any_setting(images, self.slots or (4 if self.self_test else TIMED[name].slots))

    def any_setting(self, images: ImageData, slots: int = 1) -> Setting:
        """What rows have in common, whatever they train."""
        trainer, device = self.trainer, resolve_device(self.device)
        threads = trainer.threads if device.type == "cpu" else 1
        return Setting(
            source=DataOptions(data=self.data, data_root=self.data_root),
            images=images,
            outer_size=self.outer_size,
            slots=slots,
            device=device,
            threads=threads,
            processes=1 if self.self_test else threads,
            precisions=self.precisions,
            dacbench_python=self.dacbench_python,
            tiny=self.self_test,
        )

    def shown(self) -> dict[str, Any]:
        """The options without paths of this machine."""
        kind, _, path = self.data.partition(":")
        data = f"{kind}:{Path(path).name}" if kind == "folder" else self.data
        hidden = dict.fromkeys(("data_root", "dacbench_python", "json", "page"), "")
        return {**dataclasses.asdict(self), "data": data, **hidden}
