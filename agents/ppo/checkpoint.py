"""What a checkpoint holds: all that a run needs to go on bit for bit as if it had never stopped.

Checkpoints are taken between two rollouts, when the rollout buffer holds nothing. They are plain values and tensors;
how they lie in a file is said in ``lambda_rl.agents.ppo.checkpoint_file``.
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from lambda_rl.agents.clusters import ClusterVectorEnv
from lambda_rl.agents.ppo.checkpoint_file import first_line, write_checkpoint
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.ppo.config_file import from_dict, to_dict
from lambda_rl.agents.record.run_folder import RunFolder
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv


@dataclass
class Origin:
    """Where a run comes from; goes into checkpoints and policy files.

    Attributes:
        config: all options, resolved.
        data_name: name of the data.
        data_fingerprint: digest of the data's content.
        command: the command line that started the run.
        commit: git commit of the code, or ``unknown``.
    """

    config: TrainConfig
    data_name: str
    data_fingerprint: str
    command: str
    commit: str


@dataclass
class Progress:
    """What a run has reached, apart from the agent itself.

    Attributes:
        best_score: highest mean score on the validation tasks; None before the first validation.
        best_decisions: decisions done when it was reached.
        best_actor: arrays of the actor that reached it (see ``lambda_rl.agents.ppo.export``).
        best_results: further numbers of that validation.
        last_score: score of the last validation.
        elapsed: seconds of training so far, in all sessions.
        wandb_id: id of the tracked run, to continue it.
    """

    best_score: float | None = None
    best_decisions: int = 0
    best_actor: dict[str, npt.NDArray[Any]] | None = None
    best_results: dict[str, float] = field(default_factory=dict)
    last_score: float | None = None
    elapsed: float = 0.0
    wandb_id: str | None = None


@dataclass
class Learner:
    """The objects whose state a checkpoint holds.

    Attributes:
        model: PPO.
        normalize: outermost wrapper.
        monitor: wrapper that sums up episodes.
        env: the native vector environment.
    """

    model: PPO
    normalize: VecNormalize
    monitor: VecMonitor
    env: CifarLambdaVectorEnv | ClusterVectorEnv


def save_checkpoint(folder: RunFolder, learner: Learner, progress: Progress, origin: Origin) -> None:
    """Writes a checkpoint, see :func:`~lambda_rl.agents.ppo.checkpoint_file.write_checkpoint`."""
    state = {
        "origin": {**vars(origin), "config": to_dict(origin.config)},
        "progress": {**vars(progress), "best_actor": _tensors(progress.best_actor)},
        "model": _model_state(learner.model),
        "normalize": {
            "obs": _moments(obs_moments(learner.normalize)),
            "returns_moments": _moments(learner.normalize.ret_rms),
            "returns": torch.from_numpy(learner.normalize.returns.copy()),
        },
        "monitor": {
            "returns": torch.from_numpy(learner.monitor.episode_returns.copy()),
            "lengths": torch.from_numpy(learner.monitor.episode_lengths.copy()),
            "count": int(learner.monitor.episode_count),
        },
        "env": learner.env.state_dict(),
        "random": random_state(),
    }
    write_checkpoint(folder, state)


@contextlib.contextmanager
def _entries_of(path: Path) -> Iterator[None]:
    """Whatever an entry that is missing or of another kind sets off becomes one error that names the file."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{path}: not a whole checkpoint ({first_line(error)})") from error


def read_origin(state: dict[str, Any], path: Path) -> Origin:
    """Where the run of a checkpoint comes from.

    Args:
        state: from :func:`~lambda_rl.agents.ppo.checkpoint_file.load_checkpoint`.
        path: its file, for error messages.

    Raises:
        ValueError: something is missing or of another kind.
    """
    with _entries_of(path):
        values = dict(state["origin"])
        config = from_dict(values.pop("config"))
        names = ("data_name", "data_fingerprint", "command", "commit")
        return Origin(config, **{name: _of_type(name, values[name], str) for name in names})


def read_progress(state: dict[str, Any], path: Path) -> Progress:
    """What the run of a checkpoint has reached; arguments and errors as for :func:`read_origin`."""
    with _entries_of(path):
        values = dict(state["progress"])
        for name in ("best_score", "last_score"):
            _of_type(name, values[name], float, type(None))
        for name, kind in (("best_decisions", int), ("best_results", dict), ("elapsed", float)):
            _of_type(name, values[name], kind)
        _of_type("wandb_id", values["wandb_id"], str, type(None))
        actor = values["best_actor"]
        values["best_actor"] = None if actor is None else {key: value.numpy() for key, value in actor.items()}
        return Progress(**values)


def _of_type(name: str, value: Any, *kinds: type) -> Any:
    if not isinstance(value, kinds):
        raise TypeError(f"{name} is {value!r:.40}")
    return value


def restore(state: dict[str, Any], learner: Learner, path: Path) -> None:
    """Brings freshly built objects, and the global random generators, to a checkpoint's state.

    SB3 draws actions from torch's global generator and minibatches from numpy's; both are set here.

    Args:
        state: from :func:`~lambda_rl.agents.ppo.checkpoint_file.load_checkpoint`.
        learner: what is restored; after an error it cannot be used.
        path: the checkpoint's file, for error messages.

    Raises:
        ValueError: something is missing, of another kind, or does not fit.
    """
    with _entries_of(path):
        learner.env.load_state_dict(state["env"])
        monitor, normalize = state["monitor"], state["normalize"]
        learner.monitor.episode_returns = monitor["returns"].numpy().copy()
        learner.monitor.episode_lengths = monitor["lengths"].numpy().copy()
        learner.monitor.episode_count = _of_type("count", monitor["count"], int)
        _set_moments(obs_moments(learner.normalize), normalize["obs"])
        _set_moments(learner.normalize.ret_rms, normalize["returns_moments"])
        learner.normalize.returns = normalize["returns"].numpy().copy()
        _restore_model(learner.model, state["model"])
        set_random_state(state["random"])


def obs_moments(normalize: VecNormalize) -> RunningMeanStd:
    """Running mean and variance of the observations."""
    return cast(RunningMeanStd, normalize.obs_rms)  # typed as a dict of them, for observations that are dicts


def random_state() -> dict[str, Any]:
    """States of the global random generators of torch, numpy and Python, as plain values."""
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - SB3 uses the global one
    version, words, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "numpy": [
            str(name), np.asarray(keys).tolist(), int(position), int(has_gauss), float(cached)
        ],
        "python": [version, list(words), gauss_next],
    }  # fmt: skip


def set_random_state(state: dict[str, Any]) -> None:
    """Takes back what :func:`random_state` gave."""
    torch.set_rng_state(state["torch"])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, np.uint32), position, has_gauss, cached))  # noqa: NPY002
    version, words, gauss_next = state["python"]
    random.setstate((version, tuple(words), gauss_next))


def _model_state(model: PPO) -> dict[str, Any]:
    assert model._last_obs is not None, "nothing to save before a reset"
    return {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "num_timesteps": int(model.num_timesteps),
        "n_updates": int(model._n_updates),
        "last_obs": torch.from_numpy(np.array(model._last_obs)),
        "last_episode_starts": torch.from_numpy(np.array(model._last_episode_starts)),
        "episodes": [
            [float(item["r"]), int(item["l"]), float(item["t"])] for item in model.ep_info_buffer or ()
        ],
    }


def _restore_model(model: PPO, state: dict[str, Any]) -> None:
    model.policy.load_state_dict(state["policy"])
    model.policy.optimizer.load_state_dict(state["optimizer"])
    model.num_timesteps = _of_type("num_timesteps", state["num_timesteps"], int)
    model._n_updates = _of_type("n_updates", state["n_updates"], int)
    model._last_obs = state["last_obs"].numpy().copy()
    model._last_episode_starts = state["last_episode_starts"].numpy().copy()
    # Of the same types as VecMonitor's, so that their means come out the same to the last digit.
    episodes = [{"r": np.float32(r), "l": np.int32(length), "t": t} for r, length, t in state["episodes"]]
    model.ep_info_buffer = deque(episodes, maxlen=model._stats_window_size)
    model.ep_success_buffer = deque(maxlen=model._stats_window_size)


def _moments(moments: RunningMeanStd) -> dict[str, Any]:
    return {
        "mean": torch.from_numpy(np.array(moments.mean, np.float64)),
        "var": torch.from_numpy(np.array(moments.var, np.float64)),
        "count": float(moments.count),
    }


def _set_moments(moments: RunningMeanStd, state: dict[str, Any]) -> None:
    # The scalar ones are numpy scalars in SB3 (0-d results of ufuncs); [()] gives them back as such.
    moments.mean = state["mean"].numpy().copy()[()]
    moments.var = state["var"].numpy().copy()[()]
    moments.count = _of_type("count", state["count"], float)


def _tensors(arrays: dict[str, npt.NDArray[Any]] | None) -> dict[str, torch.Tensor] | None:
    if arrays is None:
        return None
    return {key: torch.from_numpy(np.array(value)) for key, value in arrays.items()}
