"""Reinforcement: advantages against copies of the same task, and an update that follows them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lambda_rl.agents.warm_start.actor import TorchActor, act_with
from lambda_rl.agents.warm_start.reinforce import ReinforceConfig, Reinforcer, advantages


def test_advantages_are_against_the_mean_of_copies_and_noise_is_not_blown_up() -> None:
    played = SimpleNamespace(accuracy=np.array([0.1, 0.5, 0.52, 0.54, 0.2]), constants=1)
    assert advantages(played, scale=1.0, cap=3.0).sum() == pytest.approx(0.0, abs=1e-9)  # type: ignore[arg-type]
    level = SimpleNamespace(accuracy=np.array([0.5, 0.5, 0.501, 0.499]), constants=0)
    assert np.abs(advantages(level, 1.0, 3.0)).max() == pytest.approx(0.1)  # type: ignore[arg-type]


def test_an_update_moves_the_actor_to_what_paid() -> None:
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    actor = TorchActor(3, (16, 16), generator)
    config = ReinforceConfig(rounds=1, copies=16, learning_rate=1e-3, batch_size=256)
    reinforcer = Reinforcer(actor, config, seed=0)
    observations = rng.normal(size=(8, 6, 16, 3)).astype(np.float32)

    def mean_action() -> float:
        return float(act_with(actor.arrays(), observations.reshape(-1, 3)).mean())

    before = mean_action()
    for _ in range(5):
        played = []
        for seen in observations:
            mean = act_with(actor.arrays(), seen.reshape(-1, 3)).reshape(seen.shape[:2])
            actions = mean + config.noise * rng.normal(size=mean.shape)
            played.append(
                SimpleNamespace(
                    constants=0, observations=seen, actions=actions, alive=np.ones(mean.shape, bool),
                    accuracy=0.5 + 0.02 * actions.mean(0),
                )
            )  # fmt: skip
        told = reinforcer.update(played, 1.0)  # type: ignore[arg-type]
    assert mean_action() > before + 0.01
    assert told["train/std"] == pytest.approx(config.noise)
    other = Reinforcer(actor, config, seed=1)
    other.load_state_dict(reinforcer.state_dict())
    assert all(
        torch.equal(one, two)
        for one, two in zip(
            reinforcer.model.policy.parameters(), other.model.policy.parameters(), strict=True
        )
    )
