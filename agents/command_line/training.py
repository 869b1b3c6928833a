"""The command that trains an agent."""

from __future__ import annotations

import argparse
import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from lambda_rl.agents.command_line.parsing import arguments_of, parse
from lambda_rl.agents.ppo.checkpoint_file import load_newest
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.config_file import load_config
from lambda_rl.agents.ppo.presets import PRESETS, preset
from lambda_rl.agents.ppo.run import resume, train
from lambda_rl.agents.presenting.script import Interrupted
from lambda_rl.agents.record.provenance import command_line, program
from lambda_rl.agents.record.run_folder import RunFolder

if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = tyro.extras.literal_type_from_choices(PRESETS)


@dataclass(frozen=True)
class TrainOptions(TrainConfig):
    """Trains an agent and leaves a run folder with its policy. A preset sets all options; others replace its own.

    Attributes:
        resume: run folder to go on with; options that change what is learned cannot be given anew.
        overwrite: replace a run of the same name.
        stop_after: end after this many rollouts, to be resumed later; 0: go to the end.
    """

    preset: PresetName = "quick"
    resume: str = ""
    overwrite: bool = False
    stop_after: int = 0


def train_agent(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line, trains, says where the policy is."""
    given = arguments_of(arguments)
    options = parse(TrainOptions, given, default=TrainOptions(**_values(_base(given), TrainConfig)))
    config = TrainConfig(**_values(options, TrainConfig))
    stop_after = options.stop_after or None
    if options.resume:
        folder = Path(options.resume)
    else:
        config = config.named()
        folder = config.folder
    try:
        if options.resume:
            resume(folder, config, command=command_line(), stop_after=stop_after)
        else:
            train(config, command=command_line(), overwrite=options.overwrite, stop_after=stop_after)
    except KeyboardInterrupt as stop:
        raise _told(stop, folder, config) from None
    policy = RunFolder(folder).policy
    if policy.is_file():
        print(f"policy: {policy}")
    if stop_after is not None:
        print(f"to go on: {_to_go_on(folder)}")


def _base(given: Sequence[str]) -> TrainConfig:
    """What options that are not given are taken from: the run to go on with, or a preset."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--preset", "--resume"):
        first.add_argument(name, nargs="?")
    known, others = first.parse_known_args(given)
    if known.preset is None and others and others[0] in PRESETS:
        raise ValueError(f"unknown option {others[0]}; did you mean --preset {others[0]}?")
    if known.resume and known.preset is None:
        return load_config(RunFolder(Path(known.resume)).config)
    return preset(known.preset or "quick")


def _values(options: Any, of: type[Any]) -> dict[str, Any]:
    """Those options that a configuration has, by name, nested ones as they are."""
    return {item.name: getattr(options, item.name) for item in dataclasses.fields(of)}


def _to_go_on(folder: Path) -> str:
    return shlex.join([*program(), "--resume", str(folder)])


def _told(stop: KeyboardInterrupt, folder: Path, config: TrainConfig) -> KeyboardInterrupt:
    """An interruption that says how to go on, if anything was begun."""
    place = RunFolder(folder)
    if not place.config.is_file():
        return stop
    found = load_newest(place)
    done = 0 if found is None else int(found[0]["model"]["num_timesteps"])
    total = config.num_rollouts * config.ppo.rollout_size
    return Interrupted(f"after {done:,} of {total:,} decisions; to go on: {_to_go_on(folder)}")
