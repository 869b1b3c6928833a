"""Fitting: an actor aims where its task's curve is low, hedges where it cannot know, and does without hidden facts."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from stable_baselines3.common.running_mean_std import RunningMeanStd

from lambda_rl.agents.warm_start.actor import TorchActor, act_with
from lambda_rl.agents.warm_start.curves import LOG_KAPPAS
from lambda_rl.agents.warm_start.imitation import STATIC, Experience, ImitationConfig, fit

GRID = np.array(LOG_KAPPAS)
FEATURES = ("progress", "gap", STATIC[0])


def episodes(
    best: float, gap: float, fact: float, rng: np.random.Generator, cliff: float = 9.0
) -> SimpleNamespace:
    """A task whose curve is lowest at ``best`` and steep above ``cliff``; ``gap`` and ``fact`` are what is seen."""
    count, steps, copies = len(GRID), 6, 4
    accuracy = 0.9 - 0.05 * np.abs(GRID - best) - 0.5 * (cliff < GRID)
    runs = count + copies
    observations = np.zeros((steps, runs, 3), np.float32)
    observations[..., 0] = np.linspace(0, 1, steps)[:, None]
    observations[..., 1], observations[..., 2] = gap, fact
    return SimpleNamespace(
        task=SimpleNamespace(decisions=steps), observations=observations,
        log_kappa=rng.uniform(-1, 1, (steps, runs)), alive=np.ones((steps, runs), bool),
        curve=accuracy, constants=count, hold_from=0,
    )  # fmt: skip


def trained(tasks: list[SimpleNamespace], config: ImitationConfig) -> TorchActor:
    generator = torch.Generator().manual_seed(0)
    actor = TorchActor(len(FEATURES), (16,), generator)
    experience, moments = Experience(0.5, config), RunningMeanStd(epsilon=0.0, shape=(len(FEATURES),))
    for each in tasks:
        experience.add(each)  # type: ignore[arg-type]
        moments.update(each.observations.reshape(-1, len(FEATURES)))
    actor.normalise(moments)
    optimizer = torch.optim.Adam(actor.parameters(), lr=3e-3)
    fit(actor, optimizer, experience.states(), FEATURES, generator, 400)
    return actor


def aim(actor: TorchActor, gap: float, fact: float = 0.0) -> float:
    """log₁₀ κ that is aimed at from κ = 1."""
    seen = np.array([[0.5, gap, fact]], np.float32)
    with torch.no_grad():
        action = float(actor(torch.from_numpy(seen)))
    assert act_with(actor.arrays(), seen)[0] == pytest.approx(action, abs=1e-4)
    return 0.5 * action


def test_it_aims_where_the_curve_is_low_and_away_from_a_cliff() -> None:
    rng = np.random.default_rng(0)
    tasks = [episodes(1.0, 1.0, 0.0, rng) for _ in range(12)] + [
        episodes(-0.7, -1.0, 0.0, rng) for _ in range(12)
    ]
    # Seen alike: a third of these falls off a cliff where the others are best.
    tasks += [episodes(0.85, 3.0, 0.0, rng, cliff=0.5 if i % 3 == 0 else 9.0) for i in range(24)]
    actor = trained(tasks, ImitationConfig(batch_size=512))
    # the states are spread over κ, so that what is aimed at from κ = 1 is a mean over them
    assert aim(actor, 1.0) > aim(actor, 3.0) + 0.1
    assert aim(actor, -1.0) < -0.2
    assert aim(actor, 3.0) < 0.5


def test_a_cautious_actor_stays_where_no_penalty_could_be_better() -> None:
    """Seen alike: half of the tasks gain a little by a high κ, the others lose as much."""
    rng = np.random.default_rng(0)
    tasks = [episodes(best, 0.0, 0.0, rng) for best in 12 * [2.1] + 11 * [-2.0]]
    bold, cautious = (
        aim(trained(tasks, ImitationConfig(batch_size=512, evenness=0.0, caution=caution)), 0.0)
        for caution in (0.0, 1.0)
    )
    assert cautious < bold - 0.2


def test_facts_are_used_but_their_absence_is_borne() -> None:
    rng = np.random.default_rng(1)
    tasks = [episodes(1.0, 1.0, 1.0, rng) for _ in range(12)] + [
        episodes(-0.7, -1.0, -1.0, rng) for _ in range(12)
    ]
    actor = trained(tasks, ImitationConfig(batch_size=512, hide=0.5))
    usual = float(actor.mean[2])
    assert aim(actor, 1.0, usual) - aim(actor, -1.0, usual) > 0.6


def test_tasks_that_matter_weigh_alike_in_each_half_decade() -> None:
    rng = np.random.default_rng(2)
    experience = Experience(0.5, ImitationConfig())
    for best in [-0.7] * 30 + [1.2] * 3:
        experience.add(episodes(best, 0.0, 0.0, rng))  # type: ignore[arg-type]
    flat = episodes(0.0, 0.0, 0.0, rng)
    flat.curve = np.full(len(GRID), 0.5)
    for _ in range(10):
        experience.add(flat)  # type: ignore[arg-type]
    weight = experience.task_weights()
    assert weight[:30].sum() == pytest.approx(weight[30:33].sum(), rel=0.01)
    assert weight[:33].sum() / weight.sum() == pytest.approx(ImitationConfig().matter_share)
