"""From PPO and its normaliser to a policy file that needs neither."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from lambda_rl.agents.ppo.checkpoint import Origin, Progress, read_origin, read_progress
from lambda_rl.agents.ppo.checkpoint_file import load_checkpoint, load_newest
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.record.provenance import without_places
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.envs.tasks.suites import Suite, load_suite
from lambda_rl.envs.tasks.task import Task
from lambda_rl.knobs import KAPPA, further_knobs, kind_of
from lambda_rl.observation import default_features
from lambda_rl.policy.actor import Policy, policy_from_arrays
from lambda_rl.policy.card import ANY, PolicyCard
from lambda_rl.policy.file import save_policy

Arrays = dict[str, npt.NDArray[Any]]

NORMALIZE_EPSILON = 1e-8
"""Added to the variance by VecNormalize; the policy file has it too."""

CONSTANT_VARIANCE = 1e-6
"""A feature whose variance in training stayed below it is one that the agent never saw vary (features are O(1))."""

_HIDDEN = re.compile(
    r"mlp_extractor\.policy_net\.\d+\.weight"
)  # a state_dict has them in the order of the layers

_CARD_DRAWS = 64  # tasks drawn from a distribution to see what it holds


def actor_arrays(
    parameters: Mapping[str, torch.Tensor], mean: npt.ArrayLike, variance: npt.ArrayLike
) -> Arrays:
    """Copies of all that the deterministic action depends on: normaliser and the actor's linear layers.

    Features that did not vary in training, such as the network's size where there was only one, are disconnected.
    Normalised, they were 0 all along, so their weights are the random ones of the start. On a network of another size
    the normaliser would blow the difference up to its clip and these weights would rule the action.

    Args:
        parameters: the ``state_dict`` of SB3's policy.
        mean: of the observations, ``[F]``.
        variance: of the observations, ``[F]``.

    Returns:
        ``obs_mean`` and ``obs_var`` ``[F]``, and for each layer i ``layers.i.weight`` ``[out, in]`` and
        ``layers.i.bias`` ``[out]``.
    """
    arrays: Arrays = {"obs_mean": np.array(mean, np.float64), "obs_var": np.array(variance, np.float64)}
    hidden = [key.removesuffix(".weight") for key in parameters if _HIDDEN.fullmatch(key)]
    for i, name in enumerate([*hidden, "action_net"]):
        for part in ("weight", "bias"):
            arrays[f"layers.{i}.{part}"] = parameters[f"{name}.{part}"].numpy(force=True).copy()
    constant = arrays["obs_var"] < CONSTANT_VARIANCE
    arrays["obs_var"][constant] = 1.0
    arrays["layers.0.weight"][:, constant] = 0.0
    return arrays


def make_policy(arrays: Arrays, clip_obs: float, card: PolicyCard) -> Policy:
    """A deployable policy from :func:`actor_arrays`.

    Args:
        arrays: normaliser and layers.
        clip_obs: normalised observations are clipped to ± this.
        card: what the policy is.
    """
    count = sum(key.endswith(".weight") for key in arrays)
    return policy_from_arrays(
        obs_mean=arrays["obs_mean"],
        obs_var=arrays["obs_var"],
        layers=[(arrays[f"layers.{i}.weight"], arrays[f"layers.{i}.bias"]) for i in range(count)],
        clip_obs=clip_obs,
        epsilon=NORMALIZE_EPSILON,
        card=card,
    )


def make_card(
    origin: Origin, suite: Suite | None = None, validation: dict[str, Any] | None = None
) -> PolicyCard:
    """The card of a run's policy.

    Args:
        origin: where the run comes from.
        suite: its training suite; None: loaded by the name in the configuration.
        validation: results on the validation tasks.
    """
    config = origin.config
    suite = load_suite(config.suite) if suite is None else suite
    rng = np.random.default_rng(0)
    tasks = suite.tasks or tuple(suite.sample(rng) for _ in range(_CARD_DRAWS))
    knobs = (config.control.knob_of(config.unit), *further_knobs(config.knobs))
    return PolicyCard(
        knobs=knobs,
        features=default_features(config.unit, knobs[1:]) if config.features is None else config.features,
        lam_meaning=ANY if config.unit == KAPPA else _common({task.decay for task in tasks}),
        penalty=_common({task.penalty for task in tasks}),
        decisions=round(float(np.median([task.decisions for task in tasks]))),
        suite=suite.name,
        data=f"{origin.data_name} ({origin.data_fingerprint[:16]})",
        commit=origin.commit,
        command=origin.command,
        results={} if validation is None else {"validation": validation},
        initial=(_start(config, tasks), *(kind_of(knob.name).neutral for knob in knobs[1:])),
    )


def best_policy(origin: Origin, progress: Progress, suite: Suite | None = None) -> Policy | None:
    """The policy that did best on the validation tasks, with its card; None if there was no validation yet."""
    if progress.best_actor is None:
        return None
    validation = {
        "suite": without_places(origin.config.validation_suite),
        "after_decisions": progress.best_decisions,
        "score": progress.best_score,
        **progress.best_results,
    }
    return make_policy(progress.best_actor, origin.config.ppo.clip_obs, make_card(origin, suite, validation))


def export_policy(source: Path, out: Path | None = None, *, last: bool = False) -> Path:
    """Writes the policy file of a run from its checkpoint.

    Args:
        source: a run folder or a checkpoint file.
        out: where to write; None: ``policy.safetensors`` in the run folder.
        last: the last policy in place of the best by validation.

    Returns:
        The file written.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it cannot be read.
    """
    if source.is_dir():
        found = load_newest(RunFolder(source))
        if found is None:
            raise FileNotFoundError(f"{source}: no checkpoint in this folder, so there is nothing to export")
        state, path = found
    else:
        state, path = load_checkpoint(source), source
    origin, progress = read_origin(state, path), read_progress(state, path)
    policy = None if last else best_policy(origin, progress)
    if policy is None:
        validation = {"after_decisions": state["model"]["num_timesteps"]}
        card = make_card(origin, validation=validation)
        moments = state["normalize"]["obs"]
        arrays = actor_arrays(state["model"]["policy"], moments["mean"].numpy(), moments["var"].numpy())
        policy = make_policy(arrays, origin.config.ppo.clip_obs, card)
    if out is None:
        out = RunFolder.of_checkpoint(path).policy
    save_policy(out, policy)
    return out


def _start(config: TrainConfig, tasks: Sequence[Task]) -> float | None:
    """The geometric mean of the start values of the first knob; None if the tasks say none of its unit."""
    name = f"initial_{config.unit}"
    told = [math.log10(getattr(task, name)) for task in tasks if getattr(task, name) > 0]
    return 10.0 ** config.control.clip(float(np.mean(told))) if told else None


def _common(values: set[str]) -> str:
    return values.pop() if len(values) == 1 else "any"
