"""The command that trains a policy for loops of any kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from lambda_rl.agents.command_line.parsing import parse
from lambda_rl.agents.presenting.script import Interrupted
from lambda_rl.agents.record.provenance import command_line
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.agents.warm_start.config import WarmStartConfig
from lambda_rl.agents.warm_start.run import train


@dataclass(frozen=True, kw_only=True)
class AnyLoopOptions(WarmStartConfig):
    """Trains a policy for loops of any kind, and leaves a run folder with it.

    Attributes:
        resume: go on with the run of that name, from its last checkpoint.
        stop_after: end after this many rounds, to be resumed later; 0: go to the end.
        finish: with --resume: play no more, and make the policy of what was played so far.
    """

    resume: bool = False
    stop_after: int = 0
    finish: bool = False


def train_any_loop(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, trains, says where the policy is."""
    options = parse(AnyLoopOptions, arguments)
    config = WarmStartConfig(
        **{item.name: getattr(options, item.name) for item in dataclasses.fields(WarmStartConfig)}
    )
    try:
        folder = train(
            config,
            command=command_line(),
            resume=options.resume,
            stop_after=options.stop_after or None,
            finish=options.finish,
        )
    except KeyboardInterrupt:
        name = config.name or f"NAME (its folder in {config.out})"
        raise Interrupted(f"the same command with --name {name} and --resume goes on") from None
    policy = RunFolder(folder).policy
    if policy.is_file():
        print(f"policy: {policy}")
