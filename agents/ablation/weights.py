"""Policies with other weights: blind to some features, or as they were before training."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import nn

from lambda_rl import Policy, PolicyCard

Layers = list[tuple[np.ndarray, np.ndarray]]


def blinded(policy: Policy, features: Collection[str]) -> Policy:
    """The same policy, to which some features look as they did on average in its training, whatever they are.

    Nothing is trained anew: what a policy that never had these features would do is another question.

    Args:
        policy: it stays as it is.
        features: names; those that it does not read are passed over.
    """
    (weight, bias), *rest = policy.layers
    blind = weight.copy()
    blind[:, [place for place, name in enumerate(policy.card.features) if name in features]] = 0.0
    return with_layers(policy, [(blind, bias), *rest])


def untrained(policy: Policy) -> Policy:
    """A policy of the same shape with the weights that PPO begins with, drawn by the policy's fingerprint.

    These are those of Stable-Baselines3: orthogonal, with a gain of √2, and of 0.01 in the last layer.
    """
    generator = torch.Generator().manual_seed(int(policy.fingerprint, 16) % 2**63)
    layers: Layers = []
    for place, (weight, bias) in enumerate(policy.layers):
        gain = 0.01 if place == len(policy.layers) - 1 else 2.0**0.5
        drawn = nn.init.orthogonal_(torch.empty(weight.shape), gain, generator)
        layers.append((drawn.numpy(), np.zeros_like(bias)))
    return with_layers(policy, layers)


def with_layers(policy: Policy, layers: Layers, card: PolicyCard | None = None) -> Policy:
    """The same policy with other layers, and with another card if one is given."""
    made = Policy(
        obs_mean=policy.obs_mean,
        obs_var=policy.obs_var,
        clip_obs=policy.clip_obs,
        epsilon=policy.epsilon,
        layers=layers,
        card=policy.card if card is None else card,
    )
    made.name = policy.name
    return made
