"""Trains an agent and leaves a run folder with its policy.

    python scripts/train_agent.py --preset quick
    python scripts/train_agent.py --preset cifar-mlp --data folder:PATH --seed 1 --ppo.learning-rate 5e-4
    python scripts/train_agent.py --resume runs/NAME

A preset sets all options; those given beside it replace its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.config_file import load_config
from lambda_rl.agents.ppo.presets import PRESETS, preset
from lambda_rl.agents.ppo.run import resume, train
from lambda_rl.agents.presenting.script import run_script
from lambda_rl.agents.record.provenance import command_line
from lambda_rl.agents.record.run_folder import RunFolder


@dataclass(frozen=True)
class Options(TrainConfig):
    """Trains an agent and leaves a run folder with its policy. A preset sets all options; others replace its own.

    Attributes:
        resume: run folder to go on with; options that change what is learned cannot be given anew.
        overwrite: replace a run of the same name.
        stop_after: end after this many rollouts, to be resumed later; 0: go to the end.
    """

    resume: str = ""
    overwrite: bool = False
    stop_after: int = 0


def values(config: TrainConfig) -> dict[str, Any]:
    """Options by name, nested ones as they are."""
    return {item.name: getattr(config, item.name) for item in dataclasses.fields(TrainConfig)}


def main() -> None:
    """Reads the command line, trains, says where the policy is."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset")
    first.add_argument("--resume", type=Path)
    known, _ = first.parse_known_args()
    if known.resume is not None and known.preset is None:
        base = load_config(RunFolder(known.resume).config)
    else:
        base = preset(known.preset or "quick")
    options = tyro.cli(
        Options,
        default=Options(**values(base)),
        description=f"{Options.__doc__.splitlines()[0]} Presets: {', '.join(PRESETS)}."
        if Options.__doc__
        else None,
    )
    config = TrainConfig(**values(options))
    stop_after = options.stop_after or None
    if options.resume:
        folder = resume(Path(options.resume), config, command=command_line(), stop_after=stop_after)
    else:
        folder = train(config, command=command_line(), overwrite=options.overwrite, stop_after=stop_after)
    policy = RunFolder(folder).policy
    if policy.is_file():
        print(f"policy: {policy}")
    if stop_after is not None:
        print(
            f"to go on: {shlex.join(['python', f'scripts/{Path(sys.argv[0]).name}', '--resume', str(folder)])}"
        )


if __name__ == "__main__":
    run_script(main)
