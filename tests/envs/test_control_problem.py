"""The control problem: when λ acts, what is observed and rewarded, and that slots are on their own."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_envs import BASE, DISTRIBUTION, actions, tiny_data

from lambda_rl import LearnedSchedule
from lambda_rl.control import ControlLaw
from lambda_rl.envs.control_problem import ControlledRuns
from lambda_rl.envs.env import CifarLambdaEnv
from lambda_rl.envs.judging import ScheduleJob, run_schedules
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import Trainer
from lambda_rl.observation import FEATURES

DATA = tiny_data()


def episode(
    env: CifarLambdaEnv, moves: np.ndarray, **options: Any
) -> tuple[list[np.ndarray], list[float], dict]:
    obs, _ = env.reset(**options)
    info: dict[str, Any] = {}
    seen, rewards, ended = [obs], [], False
    for move in moves:
        assert not ended
        obs, reward, ended, _, info = env.step(move)
        seen.append(obs)
        rewards.append(reward)
    assert ended
    return seen, rewards, info


@pytest.mark.parametrize(
    "reward",
    [
        RewardConfig(outer_size=20),
        RewardConfig(10.0, 1.0, 0.0, outer_size=5),
        RewardConfig(2.0, 0.5, 2.0, 0.9),
    ],
)
def test_rewards_sum_to_the_final_score(reward: RewardConfig) -> None:
    env = CifarLambdaEnv(DISTRIBUTION, DATA, reward=reward)
    _, rewards, info = episode(env, actions(4, 1), seed=0, options={"task": BASE})
    scaled = min(info["outer_loss"] / math.log(10), reward.max_loss)
    final = reward.accuracy_weight * info["outer_accuracy"] - reward.log_loss_weight * scaled
    chance = reward.accuracy_weight * 0.1 - reward.log_loss_weight * min(1.0, reward.max_loss)
    assert sum(rewards) == pytest.approx(reward.scale * (final - chance), abs=1e-9)
    assert len(rewards) == BASE.decisions

    # The last score is that of the trained network on the whole of outer-val.
    core = env._core
    _, outer_all = core.run(0), core.trainer.sources[""]._outer_all
    params = {name: value.unsqueeze(0) for name, value in core.run(0).params.items()}
    network = core.run(0).network
    x = core.trainer.data.evaluation_set(outer_all, network, torch.float32).inputs.unsqueeze(0)
    logits = network.forward(network.prepared(params, torch.float32), {}, x, training=False)[0].T
    right = (logits.argmax(1) == DATA.labels[outer_all]).double().mean().item()
    assert info["outer_accuracy"] == pytest.approx(right)


def test_progress_and_lam_in_the_observation() -> None:
    law = ControlLaw(-4.0, 0.0, 0.5)
    env = CifarLambdaEnv(DISTRIBUTION, DATA, control=law)
    moves = np.array([[1.0], [0.5], [np.nan], [-3.0]])
    seen, _, _ = episode(env, moves, seed=0, options={"task": replace(BASE, initial_lam=0.01)})
    progress = [float(obs[FEATURES.names().index("progress")]) for obs in seen]
    assert progress == [-1.0, -0.5, 0.0, 0.5, 1.0]
    position = [float(obs[FEATURES.names().index("log_lam")]) for obs in seen]
    # 10^-2, +0.5, +0.25, NaN holds, an action out of range counts as -1.
    assert position == pytest.approx([0.0, 0.25, 0.375, 0.375, 0.125])
    assert env._core.history[0]["log_lam"] == pytest.approx([-1.5, -1.25, -1.25, -1.75])


def test_lam_acts_on_the_next_interval() -> None:
    """The first decision already matters, and the observation before it tells nothing of the interval to come."""
    env = CifarLambdaEnv(DISTRIBUTION, DATA, control=ControlLaw(max_change=3.0))
    task = replace(BASE, initial_lam=0.1, learning_rate=0.2)
    up, _, _ = episode(env, np.array([[0.2], [0.0], [0.0], [0.0]]), options={"task": task})
    down, _, _ = episode(env, np.array([[-1.0], [0.0], [0.0], [0.0]]), options={"task": task})
    norm = FEATURES.names().index("log_weight_norm")
    assert np.array_equal(up[0], down[0])
    assert up[1][norm] < down[1][norm]
    late, _, _ = episode(env, np.array([[0.2], [0.0], [0.0], [-1.0]]), options={"task": task})
    assert np.array_equal(np.array(up[:4]), np.array(late[:4]))
    assert not np.array_equal(up[4], late[4])


def test_outer_images_reach_the_reward_and_nothing_else() -> None:
    """Other labels on outer-val: other rewards, the same observations."""
    moves = actions(4, 1)
    labels = DATA.labels.clone()
    outer = Trainer(DATA, "agent").sources[""].split.outer_val
    labels[outer] = (labels[outer] + 1) % 10
    seen, rewards, _ = episode(CifarLambdaEnv(DISTRIBUTION, DATA), moves, options={"task": BASE})
    other = CifarLambdaEnv(DISTRIBUTION, replace(DATA, labels=labels))
    seen2, rewards2, _ = episode(other, moves, options={"task": BASE})
    assert np.array_equal(np.array(seen), np.array(seen2))
    assert rewards != rewards2


def test_a_learned_schedule_gives_the_trace_of_the_environment(tmp_path: Path) -> None:
    """What is deployed moves λ as the same policy did in the environment, decision by decision."""
    from tiny_schedules import make_policy

    policy = make_policy(seed=3)
    task = replace(BASE, initial_lam=0.02, label_noise=0.2)
    card = policy.card
    law = ControlLaw(card.log_lam_min, card.log_lam_max, card.max_change)
    env = CifarLambdaEnv(Suite("one", "agent", TaskList((task,))), DATA, control=law)
    obs, _ = env.reset(options={"task": task})
    ended = False
    while not ended:
        obs, _, ended, _, _ = env.step(policy.act(obs[None])[0])
    history = env._core.history[0]

    def make(**options: Any) -> LearnedSchedule:
        return LearnedSchedule(policy=policy, **options)

    [result] = run_schedules([ScheduleJob(task, "learned", make)], DATA, "agent")
    assert len(set(history["log_lam"])) > 1
    assert result.history["log_lam"] == pytest.approx(history["log_lam"], abs=1e-9)
    assert result.history["val_loss"] == pytest.approx(history["val_loss"], rel=1e-6)


def test_slots_can_be_stepped_apart() -> None:
    """The core steps any of its slots, which changes nothing for the others."""
    trainer = Trainer(DATA, "agent", TrainerConfig(precision="fp32"), outer_size=20)
    moves = actions(4, 2)[:, :, 0]

    def core() -> ControlledRuns:
        made = ControlledRuns(2, trainer, ControlLaw(), RewardConfig())
        made.begin([0], [BASE])
        made.begin([1], [replace(BASE, seed=1, width=6)])
        return made

    together, apart = core(), core()
    for move in moves:
        both = together.step(move)
        for slot in (1, 0):
            one = apart.step(move[slot : slot + 1], [slot])
            assert np.array_equal(one.observation[0], both.observation[slot])
            assert one.reward[0] == both.reward[slot]
