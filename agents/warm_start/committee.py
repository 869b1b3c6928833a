"""The policy that is handed on: the mean of several small actors, each fitted anew to all that was seen.

An actor that is fitted while tasks come in has seen the early ones too often, and what it does on tasks unlike those
of its training changes from round to round. Small actors that start from different weights
agree where the experience says something; where it does not, their mean is cautious. As tanh networks side by side they
are one network, so that the policy file needs no word for it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd

from lambda_rl.agents.warm_start.actor import Arrays, TorchActor
from lambda_rl.agents.warm_start.imitation import Experience, States, cosine, fit, set_rate

PIECES = 50
"""The learning rate falls in so many steps."""


@dataclass(frozen=True)
class CommitteeConfig:
    """Who the members are, and how they are fitted; what is not said here is as for the actor that plays.

    Attributes:
        members: how many; 0: the best actor by validation is handed on.
        hidden: units of each hidden layer of a member (tanh).
        steps: minibatches for each member.
        learning_rate: AdamW's at the start; it falls to a fiftieth along a cosine.
        weight_decay: AdamW's.
        evenness: as that of the imitation.
        caution: likewise.
    """

    members: int = 3
    hidden: tuple[int, ...] = (32, 32)
    steps: int = 3000
    learning_rate: float = 2e-3
    weight_decay: float = 0.25
    evenness: float = 0.5
    caution: float = 0.0


def committee(
    config: CommitteeConfig,
    experience: Experience,
    features: Sequence[str],
    moments: RunningMeanStd,
    seed: int,
) -> Arrays:
    """Fits the members; their mean, as the numbers of one actor.

    Args:
        config: see there.
        experience: all states and curves.
        features: names of what actors observe.
        moments: of the observations.
        seed: of initial weights and minibatches.
    """
    return fitted(config, states_for(config, experience), features, moments, seed)


def states_for(config: CommitteeConfig, experience: Experience) -> States:
    """All states, weighed as members are fitted to them."""
    return experience.states(
        dataclasses.replace(experience.config, evenness=config.evenness, caution=config.caution)
    )


def fitted(
    config: CommitteeConfig, states: States, features: Sequence[str], moments: RunningMeanStd, seed: int
) -> Arrays:
    """See :func:`committee`; of states that may have fewer features."""
    members = []
    for number in range(config.members):
        generator = torch.Generator().manual_seed(1000 * (seed + 1) + number)
        actor = TorchActor(len(features), config.hidden, generator)
        actor.normalise(moments)
        optimizer = torch.optim.AdamW(
            actor.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        for piece in range(PIECES):
            set_rate(optimizer, config.learning_rate * cosine(piece / PIECES, 0.02))
            steps = config.steps * (piece + 1) // PIECES - config.steps * piece // PIECES
            fit(actor, optimizer, states, features, generator, steps)
        members.append(actor)
    return side_by_side([actor.arrays() for actor in members])


def side_by_side(members: Sequence[Arrays]) -> Arrays:
    """The mean of actors as one: hidden layers beside one another, the last one averaged.

    Args:
        members: of equal depth and normaliser.
    """
    count = sum(name.endswith(".weight") for name in members[0])
    made = {name: members[0][name] for name in ("mean", "var")}
    for i in range(count):
        weights = [member[f"layers.{i}.weight"] for member in members]
        biases = [member[f"layers.{i}.bias"] for member in members]
        if i == count - 1:
            made[f"layers.{i}.weight"] = np.concatenate(weights, 1) / len(members)
            made[f"layers.{i}.bias"] = np.mean(biases, axis=0)
            continue
        if i == 0:  # all read the same observation
            whole = np.concatenate(weights)
        else:
            whole = np.zeros((sum(w.shape[0] for w in weights), sum(w.shape[1] for w in weights)))
            row = column = 0
            for weight in weights:
                whole[row : row + weight.shape[0], column : column + weight.shape[1]] = weight
                row, column = row + weight.shape[0], column + weight.shape[1]
        made[f"layers.{i}.weight"], made[f"layers.{i}.bias"] = whole, np.concatenate(biases)
    return made
