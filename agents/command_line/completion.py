"""The command that writes what a shell needs to complete commands and options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import tyro

from lambda_rl.agents.ablation.command import AblationConfig
from lambda_rl.agents.atlas.command import AtlasConfig
from lambda_rl.agents.baselines.kappa_curves import FitKappaConfig
from lambda_rl.agents.benchmark.config import BenchmarkConfig
from lambda_rl.agents.command_line.any_loop import AnyLoopOptions
from lambda_rl.agents.command_line.main import COMMANDS
from lambda_rl.agents.command_line.parsing import parse
from lambda_rl.agents.command_line.policies import CardOptions, ExportOptions
from lambda_rl.agents.command_line.suites import SuiteOptions
from lambda_rl.agents.command_line.training import TrainOptions
from lambda_rl.agents.comparison.command import CompareConfig
from lambda_rl.agents.foreign.command import GeneralityConfig
from lambda_rl.agents.foreign.rivals.command import RivalsConfig
from lambda_rl.agents.fresh_tasks.command import FreshConfig
from lambda_rl.agents.gallery.command import GalleryConfig
from lambda_rl.agents.reproduction.lu2017.command import ReproduceConfig
from lambda_rl.agents.single_run import NetworkConfig


@dataclass(frozen=True)
class CompletionOptions:
    """Writes what a shell needs to complete commands and options, as in: lambda-rl completion bash > FILE.

    Attributes:
        shell: which one.
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh", "tcsh"]]


_OPTIONS: dict[str, Callable[..., Any]] = {
    "train": TrainOptions,
    "train-any-loop": AnyLoopOptions,
    "compare": CompareConfig,
    "run": tyro.conf.OmitArgPrefixes[NetworkConfig],
    "export": ExportOptions,
    "suites": SuiteOptions,
    "generality": GeneralityConfig,
    "foreign-rivals": RivalsConfig,
    "fresh-tasks": FreshConfig,
    "gallery": GalleryConfig,
    "atlas": AtlasConfig,
    "reproduce": ReproduceConfig,
    "bench": BenchmarkConfig,
    "fit-kappa": FitKappaConfig,
    "ablate-features": AblationConfig,
    "write-card": CardOptions,
    "completion": CompletionOptions,
}


def completion(arguments: Sequence[str] | None = None) -> None:
    """Prints it."""
    shell = parse(CompletionOptions, arguments).shell
    subcommands = {name: _OPTIONS.get(name, _nothing) for name in COMMANDS}
    tyro.extras.subcommand_cli_from_dict(
        subcommands, prog="lambda-rl", args=["--tyro-print-completion", shell]
    )


def _nothing() -> None:
    """A command of the base install, whose options are few."""
