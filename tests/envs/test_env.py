"""The Gymnasium environments: conformance, reproducibility, single equals vector."""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from tiny_envs import BASE, DISTRIBUTION, actions, same, tiny_data, trace

from lambda_rl import LearnedSchedule
from lambda_rl.control import ControlLaw
from lambda_rl.envs.control_problem import ControlledRuns
from lambda_rl.envs.env import CifarLambdaEnv
from lambda_rl.envs.judging import ScheduleJob, run_schedules
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import Suite, TaskList, TaskSpace
from lambda_rl.envs.tasks.variations import LogUniform
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import Trainer
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv
from lambda_rl.observation import FEATURE_BOUND, FEATURES

ID = "lambda_rl.envs:LambdaRL/CifarLambda-v0"
DATA = tiny_data()
TINY: dict[str, Any] = {"suite": DISTRIBUTION, "data": DATA, "reward": RewardConfig(outer_size=20)}
LIST = Suite("list", "held-out", TaskList((BASE, replace(BASE, label_noise=0.4))))


def vector(slots: int, **options: Any) -> CifarLambdaVectorEnv:
    return CifarLambdaVectorEnv(slots, **{**TINY, **options})


# Conformance


@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_checkers_have_nothing_to_say(render_mode: str | None) -> None:
    from gymnasium.utils.env_checker import check_env

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gym.make(ID, render_mode=render_mode, **TINY)
        check_env(made.unwrapped)
        sb3_check_env(made.unwrapped)
        sb3_check_env(made)
        direct = CifarLambdaEnv(render_mode=render_mode, **TINY)
        check_env(direct, skip_render_check=True)  # the render check wants a registered environment
        sb3_check_env(direct)


def test_make_runs_an_episode_without_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(ID, render_mode="rgb_array", **TINY)
        for seed in (0, None):
            env.reset(seed=seed)
            ended = False
            while not ended:
                _, _, ended, truncated, _ = env.step(env.action_space.sample())
                assert not truncated
        env.close()


def test_without_arguments_it_is_the_quick_synthetic_task() -> None:
    env = gym.make("LambdaRL/CifarLambda-v0")
    core = env.unwrapped._core  # type: ignore[attr-defined]
    assert env.unwrapped.suite.name == "quick"  # type: ignore[attr-defined]
    assert len(core.trainer.data) == 12_000
    obs, info = env.reset(seed=0)
    assert obs in env.observation_space
    assert info["task"].startswith("mlp32-n")
    obs, reward, *_ = env.step(np.zeros(1, np.float32))
    assert obs in env.observation_space
    assert math.isfinite(reward)
    # The vector environment has the same defaults; the images come from the cache now.
    envs = gym.make_vec("LambdaRL/CifarLambda-v0", num_envs=2)
    assert isinstance(envs.unwrapped, CifarLambdaVectorEnv)
    first, infos = envs.reset(seed=0)
    assert infos["task"][0] == info["task"]
    assert first in envs.observation_space


def test_make_vec_both_ways() -> None:
    native = gym.make_vec(ID, num_envs=3, vectorization_mode="vector_entry_point", **TINY)
    assert isinstance(native.unwrapped, CifarLambdaVectorEnv)
    assert native.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    sync = gym.make_vec(
        ID,
        num_envs=3,
        vectorization_mode="sync",
        vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
        **TINY,
    )
    for name in ("single_observation_space", "single_action_space", "observation_space", "action_space"):
        assert getattr(native, name) == getattr(sync, name)
    moves = actions(6, 3)
    assert same(trace(native, moves), trace(sync, moves))


def assert_same_infos(one: dict[str, Any], other: dict[str, Any], slots: int) -> None:
    """Equal where a mask says that there is a value."""
    for infos in (one, other):
        assert {key for key in infos if not key.startswith("_")} == {
            key[1:] for key in infos if key.startswith("_")
        }
    nothing = np.zeros(slots, np.bool_)
    for key in set(one) | set(other):
        if key.startswith("_"):
            assert np.array_equal(one.get(key, nothing), other.get(key, nothing)), key
    for key in (set(one) & set(other)) - {"final_obs"}:
        if key.startswith("_"):
            continue
        if isinstance(one[key], dict):
            assert_same_infos(one[key], other[key], slots)
            continue
        mask = one[f"_{key}"]
        assert one[key].dtype == other[key].dtype, key
        assert np.array_equal(one[key][mask], other[key][mask]), key


def test_equals_gymnasiums_own_vector_of_single_environments() -> None:
    """Observations, rewards, ends and infos (final ones too), over several episodes of unequal length."""
    moves = actions(12, 3)
    native = vector(3)
    sync = SyncVectorEnv([lambda: CifarLambdaEnv(**TINY)] * 3, autoreset_mode=AutoresetMode.SAME_STEP)
    (one, first), (other, second) = native.reset(seed=0), sync.reset(seed=0)
    assert np.array_equal(one, other)
    assert_same_infos(first, second, 3)
    ends = np.zeros(3, int)
    for move in moves:
        *ours, infos = native.step(move)
        *theirs, reference = sync.step(move)
        assert same(ours, theirs)
        assert_same_infos(infos, reference, 3)
        assert ("final_obs" in infos) == ("final_obs" in reference) == bool(ours[2].any())
        for slot in np.flatnonzero(ours[2]):
            ends[slot] += 1
            assert np.array_equal(infos["final_obs"][slot], reference["final_obs"][slot])
            assert np.array_equal(infos["final_obs"][slot], native.last_final_obs[slot])
            assert not np.array_equal(infos["final_obs"][slot], ours[0][slot])
    assert ends.min() >= 2
    assert ends.max() > ends.min()  # tasks of 3 and of 4 decisions


def test_slots_are_single_environments() -> None:
    moves = actions(12, 3, seed=1)
    many = vector(3)
    obs, _ = many.reset(seed=7)
    singles = [CifarLambdaEnv(**TINY) for _ in range(3)]
    for slot, env in enumerate(singles):
        assert np.array_equal(env.reset(seed=7 + slot)[0], obs[slot])
    for move in moves:
        obs, reward, terminated, _, infos = many.step(move)
        for slot, env in enumerate(singles):
            one, r, ended, _, _ = env.step(move[slot])
            assert r == reward[slot]
            assert ended == terminated[slot]
            if ended:
                assert np.array_equal(infos["final_obs"][slot], one)
                one, _ = env.reset()
            assert np.array_equal(one, obs[slot])


def test_same_seed_same_trace() -> None:
    moves = actions(9, 2)
    first = trace(vector(2), moves, seed=3)
    env = vector(2)
    trace(env, actions(4, 2, seed=9), seed=11)  # what was before a seeded reset does not matter
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - global generators must not matter either
    assert same(first, trace(env, moves, seed=3))
    assert not same(first, trace(vector(2), moves, seed=4))
    assert not same(first, trace(vector(2), -moves, seed=3))


def test_threads_change_nothing() -> None:
    moves = actions(6, 4)
    one, two = vector(4), vector(4, threads=2)
    assert same(trace(one, moves), trace(two, moves))
    two.close()


# The control problem


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


def test_observations_stay_in_their_space() -> None:
    env = vector(4)
    obs, _ = env.reset(seed=0)
    assert obs.dtype == np.float32
    assert obs.shape == (4, len(FEATURES))
    assert (env.observation_space.high == FEATURE_BOUND).all()  # type: ignore[attr-defined]
    for move in actions(10, 4, seed=2):
        obs, reward, _, truncated, _ = env.step(move)
        assert obs in env.observation_space
        assert reward.dtype == np.float64
        assert np.isfinite(reward).all()
        assert not truncated.any()


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
    outer = Trainer(DATA, "agent").split.outer_val
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


# Errors


def test_errors_name_what_is_wrong() -> None:
    for make in (CifarLambdaEnv, lambda **options: CifarLambdaVectorEnv(2, **options)):
        with pytest.raises(ValueError, match=r"unknown render_mode 'human'; allowed are None and rgb_array"):
            make(render_mode="human", **TINY)
        with pytest.raises(ValueError, match=r"'nonsense' is neither a file nor one of .*cifar-mlp"):
            make(**{**TINY, "suite": "nonsense"})
        with pytest.raises(ValueError, match="unknown data 'nonsense'"):
            make(**{**TINY, "data": "nonsense"})
        with pytest.raises(ValueError, match="unknown device 'tpu0'"):
            make(device="tpu0", **TINY)
        with pytest.raises(ValueError, match="unknown precision 'int4'"):
            make(precision="int4", **TINY)
        with pytest.raises(ValueError, match="threads must be at least 1"):
            make(threads=0, **TINY)
    with pytest.raises(ValueError, match="num_envs must be at least 1, got 0"):
        vector(0)
    with pytest.raises(ValueError, match="3 seeds for 2 environments"):
        vector(2).reset(seed=[1, 2, 3])
    with pytest.raises(ValueError, match="1 tasks for 2 environments"):
        vector(2).reset(options={"tasks": [BASE]})
    with pytest.raises(ValueError, match="outer_size must be at least 1"):
        RewardConfig(outer_size=0)
    with pytest.raises(ValueError, match="scale and max_loss positive"):
        RewardConfig(scale=0.0)


def test_a_suite_that_wants_more_images_than_there_are_is_refused_at_once() -> None:
    """Not in mid-training, when the first such task is drawn."""
    assert isinstance(DISTRIBUTION.source, TaskSpace)
    vary = {**DISTRIBUTION.source.vary, "train_size": LogUniform((50, 241))}
    big = replace(DISTRIBUTION, source=replace(DISTRIBUTION.source, vary=vary))
    for suite in (big, Suite("list", "agent", TaskList((BASE, replace(BASE, val_size=31))))):
        with pytest.raises(ValueError, match=r"(train_size=241|val_size=31), but the inner-"):
            CifarLambdaEnv(suite, DATA)
        with pytest.raises(ValueError, match=r"(train_size=241|val_size=31), but the inner-"):
            CifarLambdaVectorEnv(2, suite=suite, data=DATA)


def test_step_at_the_wrong_time() -> None:
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\)"):
        CifarLambdaEnv(**TINY).step(np.zeros(1, np.float32))
    with pytest.raises(RuntimeError, match=r"call reset\(\) before step\(\)"):
        vector(2).step(np.zeros((2, 1), np.float32))
    env = CifarLambdaEnv(**TINY)
    episode(env, actions(4, 1), options={"task": BASE})
    with pytest.raises(RuntimeError, match=r"ended: call reset\(\)"):
        env.step(np.zeros(1, np.float32))


# Pictures


def test_render_draws_the_run() -> None:
    env = CifarLambdaEnv(render_mode="rgb_array", **TINY)
    env.reset(seed=0, options={"task": BASE})
    pictures = []
    for move in actions(3, 1):
        picture = env.render()
        assert picture is not None
        pictures.append(picture)
        env.step(move)
    for picture in pictures:
        assert picture.dtype == np.uint8
        assert picture.shape == (480, 640, 3)
    assert not np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[1], pictures[2])
    many = vector(2, render_mode="rgb_array")
    many.reset(seed=0)
    many.step(actions(1, 2)[0])
    drawn = many.render()
    assert drawn is not None
    assert [picture.shape for picture in drawn] == [(480, 640, 3)] * 2
    assert not np.array_equal(drawn[0], drawn[1])
    assert vector(2).render() is None


# State


@pytest.mark.parametrize("network", ["mlp", "cnn3"])
def test_state_goes_on_bit_for_bit_in_a_new_environment(network: str) -> None:
    assert isinstance(DISTRIBUTION.source, TaskSpace)
    bases = tuple(
        replace(b, network=network, width=2, augment=network == "cnn3") for b in DISTRIBUTION.source.bases
    )
    suite = replace(DISTRIBUTION, source=replace(DISTRIBUTION.source, bases=bases))
    env = vector(3, suite=suite)
    trace(env, actions(5, 3), seed=0)
    assert any(run is not None and run.decision > 0 for run in env._core.runs)
    file = io.BytesIO()
    torch.save(env.state_dict(), file)
    moves = actions(9, 3, seed=4)
    reference = trace(env, moves, seed=None)
    reference_history = env._core.history

    file.seek(0)
    other = vector(3, suite=suite)
    other.load_state_dict(torch.load(file, weights_only=True))
    assert same(reference, trace(other, moves, seed=None))
    assert other._core.history == reference_history
    assert any(step.any() for step in reference[2::4])  # episodes ended on the way


def test_state_is_a_copy() -> None:
    env = vector(2)
    trace(env, actions(2, 2), seed=0)
    state = env.state_dict()
    moves = actions(5, 2, seed=1)
    reference = trace(env, moves, seed=None)
    for _ in range(2):  # neither going on nor loading has changed it
        env.load_state_dict(state)
        assert same(reference, trace(env, moves, seed=None))


def test_state_of_another_number_of_slots_is_refused() -> None:
    env = vector(2)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="state of 2 slots does not fit 3 slots"):
        vector(3).load_state_dict(env.state_dict())


def test_list_suites_draw_their_tasks() -> None:
    env = CifarLambdaEnv(LIST, DATA)
    names = {env.reset(seed=seed)[1]["task"] for seed in range(8)}
    assert names == set(LIST.task_names)


def test_reset_takes_a_task() -> None:
    env = CifarLambdaEnv(**TINY)
    task = replace(BASE, train_size=77, initial_lam=1e-9)
    first, info = env.reset(seed=0, options={"task": task})
    assert info["task"] == task.name
    assert info["log_lam"] == env._core.control.log_lam_min  # brought into the range
    assert np.array_equal(first, env.reset(seed=1, options={"task": task})[0])


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
