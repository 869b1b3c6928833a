"""What ``scripts/ablate_features.py`` does: policies of a run's experience that lack a family of features each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd

from lambda_rl.agents.ablation.families import FAMILIES, VALIDATION, without
from lambda_rl.agents.ppo.checkpoint_file import load_newest
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.agents.warm_start.committee import fitted, states_for
from lambda_rl.agents.warm_start.learner import Learner
from lambda_rl.agents.warm_start.run import make_policy, read_config
from lambda_rl.observation import KAPPA_FEATURES
from lambda_rl.policy.actor import Policy
from lambda_rl.policy.file import save_policy


@dataclass(frozen=True)
class AblationConfig:
    """Fits the committee of a run again, each time without one family of features.

    The states are those that the whole actor came to; what an actor without these features would have come to on its
    own is not played.

    Attributes:
        run: folder of a run of scripts/train_any_loop.py, with its checkpoint.
        out: folder for the policies, NAME-without-FAMILY.safetensors.
        families: which to leave out.
    """

    run: Path
    out: Path = Path("runs/ablation")
    families: tuple[str, ...] = (*FAMILIES, VALIDATION)


def ablate(config: AblationConfig, command: str) -> list[Path]:
    """Fits and writes; the files.

    Raises:
        ValueError: there is no such family, or the folder has no checkpoint of a run.
    """
    kept = {family: without(family) for family in config.families}
    folder = RunFolder(config.run)
    found = load_newest(folder) if folder.config.is_file() else None
    if found is None:
        raise ValueError(f"{config.run}: not a run of scripts/train_any_loop.py with a checkpoint")
    learner = Learner(read_config(folder), KAPPA_FEATURES)
    learner.load_state_dict(found[0])
    if not learner.config.committee.members:
        raise ValueError(f"{config.run}: a run without a committee")
    files = []
    for family, features in kept.items():
        files.append(config.out / f"{config.run.name}-without-{family}.safetensors")
        save_policy(files[-1], refitted(learner, features, command))
    return files


def refitted(learner: Learner, features: Sequence[str], command: str) -> Policy:
    """The committee of all that a learner has seen, if it had seen these features alone.

    Args:
        learner: with its experience.
        features: some of its own.
        command: the command line, for the record.
    """
    columns = [learner.features.index(name) for name in features]
    config, states = learner.config, states_for(learner.config.committee, learner.experience)
    moments = RunningMeanStd(epsilon=0.0, shape=(len(columns),))
    moments.mean, moments.var = learner.moments.mean[columns], learner.moments.var[columns]
    seen = dataclasses.replace(states, observations=states.observations[:, torch.tensor(columns)])
    arrays = fitted(config.committee, seen, features, moments, config.seed)
    return make_policy(arrays, config, {}, command, tuple(features))
