"""The policy: a small deterministic actor, with the normaliser of its observations."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import numpy.typing as npt

from lambda_rl.checks import bounded, shown
from lambda_rl.knobs import LAM
from lambda_rl.observation.features import FEATURE_BOUND, FEATURES, all_features
from lambda_rl.policy.card import FEATURES_1, PolicyCard

ACTIVATION = "tanh"
"""Between the layers of every policy."""

_LARGEST_VARIANCE = 1e6  # features lie within ±5, so that 25 is the most that there can be
_CLIPS = (1e-6, 1e6)
_EPSILONS = (1e-12, 1.0)


class Policy:
    """A deterministic actor: normalise, tanh layers, linear layer, clip to [-1, 1].

    Gives what Stable-Baselines3's ``predict(deterministic=True)`` gives for a PPO ``MlpPolicy`` behind
    ``VecNormalize``. The sums are made in float64, so that the action does not depend on how many slots are
    asked for at once.

    F is the number of features that the policy reads, A that of the knobs that it moves; the card names them.

    Args:
        obs_mean: ``[F]``, float64, within ±5 as features are.
        obs_var: ``[F]``, float64, 0 to 10⁶.
        clip_obs: normalised observations are clipped to ± this; 10⁻⁶ to 10⁶.
        epsilon: added to the variance; 10⁻¹² to 1.
        layers: (weight ``[out, in]``, bias ``[out]``), float32; the last has A outputs.
        card: what the policy is.

    Attributes:
        name: by which to show it; that of its file if it was read from one, else empty.

    Raises:
        ValueError: the card does not fit this lambda_rl, shapes do not fit, a layer is empty, or a number is not
            finite or not as said above.
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
        self.clip_obs = bounded("clip_obs", clip_obs, *_CLIPS)
        self.epsilon = bounded("epsilon", epsilon, *_EPSILONS)
        self.layers = [(np.array(w, np.float32), np.array(b, np.float32)) for w, b in layers]
        self.card, self.name = card, ""
        card.check()
        self._check_shapes()
        self._check_numbers()
        self._std = np.sqrt(self.obs_var + self.epsilon)
        self._wide = [(w.T.astype(np.float64), b.astype(np.float64)) for w, b in self.layers]

    def _check_shapes(self) -> None:
        width = len(self.card.features)
        for name in ("obs_mean", "obs_var"):
            shape = getattr(self, name).shape
            if shape != (width,):
                raise ValueError(f"{name} has shape {list(shape)}, expected [{width}] (one per feature)")
        if not self.layers:
            raise ValueError("a policy needs at least one layer")
        for i, (weight, bias) in enumerate(self.layers):
            if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
                raise ValueError(
                    f"layer {i} has weight {list(weight.shape)} and bias {list(bias.shape)}, "
                    f"expected [n, {width}] and [n]"
                )
            width = weight.shape[0]
            if not width:
                raise ValueError(f"layer {i} has no units")
        if width != len(self.card.knobs):
            raise ValueError(
                f"the last layer has {width} outputs, expected {len(self.card.knobs)} (one action per knob)"
            )

    def _check_numbers(self) -> None:
        for name, array in self.tensors().items():
            if not np.isfinite(array).all():
                raise ValueError(f"non-finite numbers (NaN or infinity) in {name}")
        if (self.obs_var < 0).any() or (self.obs_var > _LARGEST_VARIANCE).any():
            raise ValueError(f"obs_var has negative numbers, or some above {_LARGEST_VARIANCE:g}")
        if (np.abs(self.obs_mean) > FEATURE_BOUND * (1 + 1e-6)).any():  # a running mean has rounding errors
            raise ValueError(f"obs_mean has numbers beyond ±{FEATURE_BOUND:g}, where no feature lies")

    def select(self, observation: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The features that the policy reads, in its order.

        Args:
            observation: ``[..., len(FEATURES)]``, those that are observed where none are named.

        Returns:
            ``[..., F]``; the observation itself where the policy reads all of it.
        """
        names = FEATURES.names()
        if self.card.features == names:
            return observation
        return observation[..., [names.index(name) for name in self.card.features]]

    def act(self, obs: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The deterministic action.

        Args:
            obs: ``[N, F]`` features that the policy reads (see :meth:`select`), or ``[F]``.

        Returns:
            float32 ``[N, A]`` (or ``[A]``) in [-1, 1], one for each knob of the card.
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

    def usual(self, feature: str) -> float | None:
        """The mean of a feature in training; None if the policy does not read it.

        Raises:
            ValueError: lambda_rl has no such feature.
        """
        features = self.card.features
        if feature not in features and feature not in all_features():
            raise ValueError(f"unknown feature {shown(feature)}; allowed: {', '.join(all_features())}")
        return float(self.obs_mean[features.index(feature)]) if feature in features else None

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Everything numeric by the name it has in the file."""
        named: dict[str, npt.NDArray[Any]] = {"obs_mean": self.obs_mean, "obs_var": self.obs_var}
        for i, (weight, bias) in enumerate(self.layers):
            named[f"layers.{i}.weight"], named[f"layers.{i}.bias"] = weight, bias
        return named

    @property
    def fingerprint(self) -> str:
        """Hex digest of weights, normaliser, knobs and features: equal if and only if the behaviour is."""
        card = self.card
        digest = hashlib.sha256(
            repr((self.clip_obs, self.epsilon, card.max_change, card.log_lam_min, card.log_lam_max)).encode()
        )
        # What all policies of format 1 had in common was left out, so that their fingerprints stay.
        if [knob.name for knob in card.knobs] != [LAM]:
            digest.update(repr([astuple(knob) for knob in card.knobs]).encode())
        read = list(zip(card.features, card.feature_versions, strict=True))
        if read != [(name, 1) for name in FEATURES_1]:
            digest.update(repr(read).encode())
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
        obs_mean: ``[F]``, one for each of ``card.features``.
        obs_var: ``[F]``.
        layers: (weight ``[out, in]``, bias ``[out]``), first to last; tanh between them.
        card: what the policy is.
        clip_obs: see :class:`Policy`.
        epsilon: see :class:`Policy`.

    Raises:
        ValueError: shapes, non-finite numbers, or a card that does not fit this lambda_rl.
    """
    return Policy(
        obs_mean=obs_mean, obs_var=obs_var, clip_obs=clip_obs, epsilon=epsilon, layers=layers, card=card
    )
