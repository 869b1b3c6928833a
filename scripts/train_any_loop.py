"""Trains a policy for loops of any kind, and leaves a run folder with it.

    python scripts/train_any_loop.py --data cifar10 --name any-loop
    python scripts/train_any_loop.py --data cifar10 --name any-loop --resume

A warm start on what constants of κ cost, then reinforcement by PPO; docs/generality.md says what it comes to.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import tyro

from lambda_rl.agents.presenting.script import run_script
from lambda_rl.agents.record.provenance import command_line
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.agents.warm_start.config import WarmStartConfig
from lambda_rl.agents.warm_start.run import train


@dataclass(frozen=True, kw_only=True)
class Options(WarmStartConfig):
    """Trains a policy for loops of any kind, and leaves a run folder with it.

    Attributes:
        resume: go on with the run of that name, from its last checkpoint.
        stop_after: end after this many rounds, to be resumed later; 0: go to the end.
        finish: with --resume: play no more, and make the policy of what was played so far.
    """

    resume: bool = False
    stop_after: int = 0
    finish: bool = False


def main() -> None:
    """Reads the options and trains."""
    options = tyro.cli(
        Options, description="Trains a policy for loops of any kind, and leaves a run folder with it."
    )
    config = WarmStartConfig(
        **{item.name: getattr(options, item.name) for item in dataclasses.fields(WarmStartConfig)}
    )
    folder = train(
        config,
        command=command_line(),
        resume=options.resume,
        stop_after=options.stop_after or None,
        finish=options.finish,
    )
    policy = RunFolder(folder).policy
    if policy.is_file():
        print(f"policy: {policy}")


if __name__ == "__main__":
    run_script(main)
