"""The policy: a small deterministic actor, with the normaliser of its observations."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from lambda_rl.features import FEATURES, NUM_FEATURES
from lambda_rl.policy_card import PolicyCard

ACTIVATION = "tanh"
"""Between the layers of every policy."""


class Policy:
    """A deterministic actor: normalise, tanh layers, linear layer, clip to [-1, 1].

    Gives what Stable-Baselines3's ``predict(deterministic=True)`` gives for a PPO ``MlpPolicy`` behind
    ``VecNormalize``. The sums are made in float64, so that the action does not depend on how many slots are
    asked for at once.

    Args:
        obs_mean: ``[F]``, float64.
        obs_var: ``[F]``, float64, 0 or more.
        clip_obs: normalised observations are clipped to ± this.
        epsilon: added to the variance.
        layers: (weight ``[out, in]``, bias ``[out]``), float32; the last has one output.
        card: what the policy is.

    Raises:
        ValueError: shapes do not fit, or a number is not finite.
    """

    def __init__(
        self,
        *,
        obs_mean: npt.ArrayLike,
        obs_var: npt.ArrayLike,
        clip_obs: float,
        epsilon: float,
        layers: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
        card: PolicyCard,
    ) -> None:
        self.obs_mean, self.obs_var = np.array(obs_mean, np.float64), np.array(obs_var, np.float64)
        self.clip_obs, self.epsilon = float(clip_obs), float(epsilon)
        self.layers = [(np.array(w, np.float32), np.array(b, np.float32)) for w, b in layers]
        self.card = card
        self._check()
        self._std = np.sqrt(self.obs_var + self.epsilon)
        self._wide = [(w.T.astype(np.float64), b.astype(np.float64)) for w, b in self.layers]

    def _check(self) -> None:
        for name in ("obs_mean", "obs_var"):
            shape = getattr(self, name).shape
            if shape != (NUM_FEATURES,):
                raise ValueError(
                    f"{name} has shape {list(shape)}, expected [{NUM_FEATURES}] (one per feature)"
                )
        if not self.layers:
            raise ValueError("a policy needs at least one layer")
        width = NUM_FEATURES
        for i, (weight, bias) in enumerate(self.layers):
            if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
                raise ValueError(
                    f"layer {i} has weight {list(weight.shape)} and bias {list(bias.shape)}, "
                    f"expected [n, {width}] and [n]"
                )
            width = weight.shape[0]
        if width != 1:
            raise ValueError(f"the last layer has {width} outputs, expected 1 (one action)")
        for name, array in self.tensors().items():
            if not np.isfinite(array).all():
                raise ValueError(f"non-finite numbers (NaN or infinity) in {name}")
        if (self.obs_var < 0).any():
            raise ValueError("obs_var has negative numbers")
        if not (0 < self.clip_obs < math.inf and 0 < self.epsilon < math.inf):
            raise ValueError(f"clip_obs and epsilon must be positive, got {self.clip_obs} and {self.epsilon}")

    def act(self, obs: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The deterministic action.

        Args:
            obs: ``[N, F]`` features, or ``[F]``.

        Returns:
            float32 ``[N, 1]`` (or ``[1]``) in [-1, 1].
        """
        # minimum/maximum are several times faster than np.clip on arrays this small; a NaN goes through both.
        hidden = np.subtract(obs, self.obs_mean)
        hidden /= self._std
        np.maximum(hidden, -self.clip_obs, out=hidden)
        np.minimum(hidden, self.clip_obs, out=hidden)
        hidden = hidden.astype(np.float32).astype(np.float64)  # VecNormalize hands float32 on
        for weight, bias in self._wide[:-1]:
            hidden = hidden @ weight
            hidden += bias
            np.tanh(hidden, out=hidden)
        weight, bias = self._wide[-1]
        return np.minimum(np.maximum(hidden @ weight + bias, -1.0), 1.0).astype(np.float32)

    def usual(self, feature: str) -> float:
        """The mean of a feature in training."""
        return float(self.obs_mean[FEATURES.index(feature)])

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Everything numeric by the name it has in the file."""
        named: dict[str, npt.NDArray[Any]] = {"obs_mean": self.obs_mean, "obs_var": self.obs_var}
        for i, (weight, bias) in enumerate(self.layers):
            named[f"layers.{i}.weight"], named[f"layers.{i}.bias"] = weight, bias
        return named

    @property
    def fingerprint(self) -> str:
        """Hex digest of weights, normaliser and control law: equal if and only if the behaviour is."""
        card = self.card
        digest = hashlib.sha256(
            repr((self.clip_obs, self.epsilon, card.max_change, card.log_lam_min, card.log_lam_max)).encode()
        )
        for name, array in self.tensors().items():
            digest.update(name.encode() + str(array.shape).encode() + array.tobytes())
        return digest.hexdigest()[:16]


def policy_from_arrays(
    *,
    obs_mean: npt.ArrayLike,
    obs_var: npt.ArrayLike,
    layers: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    card: PolicyCard,
    clip_obs: float = 10.0,
    epsilon: float = 1e-8,
) -> Policy:
    """A policy out of arrays, checked; the defaults are those of SB3's ``VecNormalize``.

    For a PPO ``model`` with ``MlpPolicy`` and a ``VecNormalize`` called ``norm``: ``obs_mean =
    norm.obs_rms.mean``, ``obs_var = norm.obs_rms.var``, ``clip_obs = norm.clip_obs``, ``epsilon =
    norm.epsilon``, and ``layers`` are weight and bias of the linear layers of
    ``model.policy.mlp_extractor.policy_net``, then of ``model.policy.action_net``.

    Args:
        obs_mean: ``[F]``.
        obs_var: ``[F]``.
        layers: (weight ``[out, in]``, bias ``[out]``), first to last; tanh between them.
        card: what the policy is.
        clip_obs: see :class:`Policy`.
        epsilon: see :class:`Policy`.

    Raises:
        ValueError: shapes, non-finite numbers, or a card that does not fit this lambda_rl.
    """
    card.check()
    return Policy(
        obs_mean=obs_mean, obs_var=obs_var, clip_obs=clip_obs, epsilon=epsilon, layers=layers, card=card
    )
