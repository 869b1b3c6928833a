"""From PPO and its normaliser to a policy file that needs neither."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from lambda_rl.agents.ppo.checkpoint import Origin, Progress, obs_moments, read_origin, read_progress
from lambda_rl.agents.ppo.checkpoint_file import load_checkpoint, load_newest
from lambda_rl.agents.record.provenance import without_places
from lambda_rl.agents.record.run_folder import CHECKPOINTS, RunFolder
from lambda_rl.envs.tasks.suites import Suite, load_suite
from lambda_rl.knobs import KNOBS, further_knobs
from lambda_rl.observation import all_features
from lambda_rl.policy.actor import Policy, policy_from_arrays
from lambda_rl.policy.card import PolicyCard
from lambda_rl.policy.file import save_policy

Arrays = dict[str, npt.NDArray[Any]]

NORMALIZE_EPSILON = 1e-8
"""Added to the variance by VecNormalize; the policy file has it too."""

CONSTANT_VARIANCE = 1e-6
"""A feature whose variance in training stayed below it is one that the agent never saw vary (features are O(1))."""

_CARD_DRAWS = 64  # tasks drawn from a distribution to see what it holds


def actor_arrays(model: PPO, normalize: VecNormalize) -> Arrays:
    """Copies of all that the deterministic action depends on: normaliser and the actor's linear layers.

    Features that never varied in training are disconnected.

    Returns:
        ``obs_mean`` and ``obs_var`` ``[F]``, and for each layer i ``layers.i.weight`` ``[out, in]`` and
        ``layers.i.bias`` ``[out]``.
    """
    moments = obs_moments(normalize)
    hidden = model.policy.mlp_extractor.policy_net
    layers = [module for module in (*hidden, model.policy.action_net) if isinstance(module, nn.Linear)]
    arrays: Arrays = {
        "obs_mean": np.array(moments.mean, np.float64),
        "obs_var": np.array(moments.var, np.float64),
    }
    for i, layer in enumerate(layers):
        arrays[f"layers.{i}.weight"] = layer.weight.detach().cpu().numpy().copy()
        arrays[f"layers.{i}.bias"] = layer.bias.detach().cpu().numpy().copy()
    return _without_constant_features(arrays)


def checkpoint_actor_arrays(state: dict[str, Any]) -> Arrays:
    """The same, of the last actor in a checkpoint, see :func:`~.checkpoint_file.load_checkpoint`."""
    parameters, moments = state["model"]["policy"], state["normalize"]["obs"]
    arrays: Arrays = {"obs_mean": moments["mean"].numpy().copy(), "obs_var": moments["var"].numpy().copy()}
    prefix = "mlp_extractor.policy_net."
    hidden = sorted({int(key[len(prefix) :].split(".")[0]) for key in parameters if key.startswith(prefix)})
    for i, name in enumerate([*(f"{prefix}{index}" for index in hidden), "action_net"]):
        arrays[f"layers.{i}.weight"] = parameters[f"{name}.weight"].numpy().copy()
        arrays[f"layers.{i}.bias"] = parameters[f"{name}.bias"].numpy().copy()
    return _without_constant_features(arrays)


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
    start = float(config.control.clip(np.mean([math.log10(task.initial_lam) for task in tasks])))
    knobs = (config.control.knob, *further_knobs(config.knobs))
    return PolicyCard(
        knobs=knobs,
        features=tuple(all_features(knobs[1:])) if config.features is None else config.features,
        lam_meaning=_common({task.decay for task in tasks}),
        penalty=_common({task.penalty for task in tasks}),
        decisions=round(float(np.median([task.decisions for task in tasks]))),
        suite=suite.name,
        data=f"{origin.data_name} ({origin.data_fingerprint[:16]})",
        commit=origin.commit,
        command=origin.command,
        results={} if validation is None else {"validation": validation},
        initial=(10.0**start, *(KNOBS[knob.name].neutral for knob in knobs[1:])),
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
        policy = make_policy(checkpoint_actor_arrays(state), origin.config.ppo.clip_obs, card)
    if out is None:
        out = RunFolder(path.parent.parent if path.parent.name == CHECKPOINTS else path.parent).policy
    save_policy(out, policy)
    return out


def _without_constant_features(arrays: Arrays) -> Arrays:
    """Disconnects features that did not vary in training, such as the network's size where there was only one.

    Normalised, they were 0 all along, so their weights are the random ones of the start. On a network of another size
    the normaliser would blow the difference up to its clip and these weights would rule the action.
    """
    constant = arrays["obs_var"] < CONSTANT_VARIANCE
    arrays["obs_var"][constant] = 1.0
    arrays["layers.0.weight"][:, constant] = 0.0
    return arrays


def _common(values: set[str]) -> str:
    return values.pop() if len(values) == 1 else "any"
