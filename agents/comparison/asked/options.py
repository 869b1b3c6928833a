"""The options of a comparison."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from lambda_rl.agents.baselines import CONSTANT_GRID, hand_designed_families
from lambda_rl.agents.options import (
    MOST,
    ClusterOptions,
    ComputeOptions,
    DataOptions,
    SuiteName,
    TrackingOptions,
)
from lambda_rl.checks import bounded_int
from lambda_rl.envs.hardware.device import available_cores
from lambda_rl.envs.training.placement import TrainerConfig


@dataclass(frozen=True)
class CompareConfig(TrackingOptions, ClusterOptions, ComputeOptions, DataOptions):
    """Compares learned policies with tuned hand-designed schedules and constants, on tasks held out from training.

    A comparison that was cut off goes on when the same command is given again.

    Attributes:
        out: folder for the tables, summary.json, tuned.json, runs.jsonl, the figures and report.html.
        policy: policy file, or wandb-artifact://ENTITY/PROJECT/NAME:ALIAS; may be given several times, or not at all.
        training_runs: inner runs that the training of each policy took, in their order; none: as their cards say, up to
            the checkpoint that was kept.
        suite: tasks, a built-in list (lambda-rl suites shows which there are) or a YAML file.
        seeds: seeds per task.
        first_seed: added to the seeds of the tasks, for a comparison on seeds that another one did not have.
        constants: the grid of constants.
        schedule: a further schedule to compare, such as constant:0.0005 or replay:FILE.csv; may be given several times.
        families: hand-designed schedules and searches that take part; give none of them to leave them out.
        ablations: of each policy, such as mean-trajectory, without-facts, shuffled; all for every one there is.
        lam_meaning: what to do where the tasks' decay is not the policy's: convert, or coupled or decoupled, the
            policy's own, to use λ unconverted; empty: refuse.
        tune: suite that hand-designed schedules are tuned on; auto: the validation suite that belongs to the suite,
            or for a suite file the one of the same kind of network; none: no tuning.
        tune_seeds: seeds per task for tuning.
        tune_settings: settings per hand-designed family at most, for a quick look; 0: all (18 to 24).
        tuned: a tuned.json of an earlier comparison, in place of tuning anew.
        workers: processes that do inner runs, on this machine.
        overwrite: replace the files of another comparison in --out; runs that both have in common are not done again.
        redraw: draw figures and report anew from the files in --out, without a run.
    """

    out: str
    policy: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    training_runs: tuple[int, ...] = ()
    suite: SuiteName = "quick-held-out"
    seeds: int = 5
    first_seed: int = 0
    constants: tuple[float, ...] = CONSTANT_GRID
    schedule: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    families: tuple[str, ...] = field(default_factory=hand_designed_families)
    ablations: tuple[str, ...] = ()
    lam_meaning: Literal["", "convert", "coupled", "decoupled"] = ""
    tune: str = "auto"
    tune_seeds: int = 2
    tune_settings: int = 0
    tuned: str = ""
    workers: int = 1
    overwrite: bool = False
    redraw: bool = False

    def check(self) -> None:
        """See :meth:`ComputeOptions.check`."""
        super().check()
        for name, least in (
            ("seeds", 1), ("first_seed", 0), ("tune_seeds", 1), ("tune_settings", 0), ("workers", 1),
        ):  # fmt: skip
            bounded_int(f"--{name.replace('_', '-')}", getattr(self, name), least, MOST)
        if self.ray and self.workers > 1:
            raise ValueError("--workers and --ray: give one of them, a cluster has its own processes")

    @property
    def trainer(self) -> TrainerConfig:
        """See :class:`ComputeOptions`; cores that nobody said how to use are shared out among the workers."""
        if self.threads or (self.workers == 1 and not self.ray):
            return super().trainer
        share = 1 if self.ray else max(1, available_cores() // self.workers)
        return dataclasses.replace(super().trainer, threads=share)
