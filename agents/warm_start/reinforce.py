"""Reinforcement after the warm start: PPO on whole episodes, each compared with copies of the same task.

An early κ pays late, and what a run ends with depends on its task far more than on κ. So an episode is rewarded at its
end, and its advantage is what it came to against the mean of copies of the same task with the same initial weights and
minibatches, which differ by the actor's own noise alone (as in GRPO, Shao et al. 2024, arXiv:2402.03300, section 4.1).
PPO's update is that of Stable-Baselines3. After each one the actor is fitted to the regret curves again, a little: what
the warm start knows of tasks that are rare is not to be forgotten.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from lambda_rl.agents.warm_start.actor import CLIP_OBS, EPSILON, TorchActor
from lambda_rl.agents.warm_start.episodes import Episodes


@dataclass(frozen=True)
class ReinforceConfig:
    """PPO after the warm start.

    Attributes:
        rounds: of playing and updating; 0: none.
        tasks: in a round.
        copies: of each task.
        learning_rate: Adam's at the start; it falls linearly to a tenth.
        n_epochs: passes over a round.
        batch_size: decisions in a minibatch.
        clip_range: of the probability ratio.
        noise: deviation of the exploration.
        scale: points; a difference that counts as 1.
        cap: differences beyond so many are cut, so that every task weighs alike.
        anchor: minibatches of the warm start after each update.
    """

    rounds: int = 0
    tasks: int = 32
    copies: int = 16
    learning_rate: float = 1e-4
    n_epochs: int = 4
    batch_size: int = 1024
    clip_range: float = 0.1
    noise: float = 0.35
    scale: float = 1.0
    cap: float = 3.0
    anchor: int = 30


class _Spaces(gym.Env[npt.NDArray[np.float32], npt.NDArray[np.float32]]):
    """Tells PPO what is observed and done; episodes come from elsewhere."""

    def __init__(self, features: int) -> None:
        self.observation_space = spaces.Box(-CLIP_OBS, CLIP_OBS, (features,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, **kwargs: Any) -> tuple[npt.NDArray[np.float32], dict[str, Any]]:
        """Nothing to see."""
        return np.zeros(self.observation_space.shape or (), np.float32), {}


def advantages(played: Episodes, scale: float, cap: float) -> npt.NDArray[np.float64]:
    """What each copy came to against the mean of all, in units of ``scale`` points, cut at ± ``cap``.

    Copies of a task whose mean differences are small count as they are: noise is not blown up.
    """
    points = 100.0 * played.accuracy[played.constants :]
    return np.clip((points - points.mean()) / max(scale, float(points.std())), -cap, cap)


class Reinforcer:
    """PPO around an actor that was warm-started; the normaliser of observations stays.

    Args:
        actor: is trained in place.
        config: see there.
        seed: of the critic and the minibatches.
    """

    def __init__(self, actor: TorchActor, config: ReinforceConfig, seed: int) -> None:
        self.actor, self.config = actor, config
        features, hidden = len(actor.mean), [layer.out_features for layer in actor.linears()[:-1]]
        self.model = PPO(
            "MlpPolicy", DummyVecEnv([lambda: _Spaces(features)]), learning_rate=self._rate,
            n_steps=config.batch_size, batch_size=config.batch_size, n_epochs=config.n_epochs, gamma=1.0,
            gae_lambda=1.0, clip_range=config.clip_range, ent_coef=0.0, normalize_advantage=False, seed=seed,
            device="cpu", policy_kwargs={
                "net_arch": {"pi": hidden, "vf": hidden}, "log_std_init": math.log(config.noise),
            },
        )  # fmt: skip
        self.model.policy.log_std.requires_grad_(False)  # else it shrinks before anything was learned
        self.model.set_logger(Logger(None, []))
        self._to_ppo()

    def _rate(self, remaining: float) -> float:
        return self.config.learning_rate * (0.1 + 0.9 * remaining)

    def _pairs(self) -> list[tuple[torch.nn.Linear, torch.nn.Linear]]:
        """Each layer of the actor and the one of PPO's policy that is the same."""
        policy = self.model.policy
        theirs = [*policy.mlp_extractor.policy_net, policy.action_net]
        theirs = [layer for layer in theirs if isinstance(layer, torch.nn.Linear)]
        return list(zip(self.actor.linears(), theirs, strict=True))

    @torch.no_grad()
    def _copy(self, *, back: bool) -> None:
        for mine, theirs in self._pairs():
            source, target = (theirs, mine) if back else (mine, theirs)
            target.weight.copy_(source.weight)
            target.bias.copy_(source.bias)

    def _to_ppo(self) -> None:
        self._copy(back=False)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on, but for the actor."""
        return {
            "policy": self.model.policy.state_dict(),
            "optimizer": self.model.policy.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes back what :meth:`state_dict` gave."""
        self.model.policy.load_state_dict(state["policy"])
        self.model.policy.optimizer.load_state_dict(state["optimizer"])

    def update(self, episodes: Sequence[Episodes], remaining: float) -> dict[str, float]:
        """One update of PPO on a round of episodes; the actor has the new weights afterwards.

        Args:
            episodes: played with the actor as it is.
            remaining: share of the rounds that are left.
        """
        self._to_ppo()
        seen, moves, gains = [], [], []
        for each in episodes:
            own, gain = slice(each.constants, None), advantages(each, self.config.scale, self.config.cap)
            alive = each.alive[:, own]
            seen.append(each.observations[:, own][alive])
            moves.append(each.actions[:, own][alive])
            gains.append(np.broadcast_to(gain, alive.shape)[alive])
        actor = self.actor
        raw = np.concatenate(seen)
        normal = ((raw - actor.mean.numpy()) / np.sqrt(actor.var.numpy() + EPSILON)).clip(-CLIP_OBS, CLIP_OBS)
        observations = torch.from_numpy(normal.astype(np.float32))
        actions = torch.from_numpy(np.concatenate(moves).astype(np.float32))[:, None]
        returns = torch.from_numpy(np.concatenate(gains).astype(np.float32))
        model = self.model
        with torch.no_grad():
            values, log_prob, _ = model.policy.evaluate_actions(observations, actions)
        buffer = RolloutBuffer(len(raw), model.observation_space, model.action_space, device="cpu")
        buffer.observations[:, 0], buffer.actions[:, 0] = observations.numpy(), actions.numpy()
        buffer.values[:, 0], buffer.log_probs[:, 0] = values.numpy()[:, 0], log_prob.numpy()
        buffer.advantages[:, 0] = (returns - values[:, 0]).numpy()
        buffer.returns[:, 0] = returns.numpy()
        buffer.pos, buffer.full = len(raw), True
        model.rollout_buffer = buffer
        model._current_progress_remaining = remaining
        model.train()
        self._copy(back=True)
        told = {name: float(value) for name, value in model.logger.name_to_value.items()}
        model.logger.name_to_value.clear()
        return told
