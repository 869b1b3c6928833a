from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from lambda_rl.agents.ppo.vec_env import SB3VecEnv
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv


class Counters(VectorEnv):
    """Slot i counts up from its seed; its episodes last i + 2 steps; odd slots are truncated, even ones terminated."""

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}
    render_mode = None

    def __init__(self, num_envs: int = 3) -> None:
        self.num_envs = num_envs
        self.single_observation_space = gymnasium.spaces.Box(-100, 100, (2,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.obs = np.zeros((num_envs, 2), np.float32)  # handed out without a copy, as some environments do
        self.age = np.zeros(num_envs, int)
        self.seeds: list[Any] = []

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.seeds.append(seed)
        self.obs[:, 0] = 0
        self.age[:] = 0
        return self.obs, {}

    def step(self, actions: Any) -> Any:
        self.age += 1
        self.obs[:, 0] += 1
        self.obs[:, 1] = np.asarray(actions)[:, 0]
        done = self.age >= np.arange(self.num_envs) + 2
        odd = np.arange(self.num_envs) % 2 == 1
        infos: dict[str, Any] = {}
        if done.any():
            final = np.full(self.num_envs, None, dtype=object)
            for slot in np.flatnonzero(done):
                final[slot] = self.obs[slot].copy()
                self.obs[slot] = 0
                self.age[slot] = 0
            infos = {"final_obs": final, "_final_obs": done}
        return self.obs, np.arange(self.num_envs, dtype=np.float64), done & ~odd, done & odd, infos


def test_only_finished_slots_have_an_info() -> None:
    env = SB3VecEnv(Counters())
    env.reset()
    actions = np.full((3, 1), 0.5, np.float32)
    obs, rewards, dones, infos = env.step(actions)
    assert infos == [{}, {}, {}]
    assert not dones.any()
    np.testing.assert_array_equal(obs, [[1, 0.5]] * 3)
    np.testing.assert_array_equal(rewards, [0, 1, 2])

    later, _, dones, infos = env.step(actions)
    assert dones.tolist() == [True, False, False]
    np.testing.assert_array_equal(infos[0]["terminal_observation"], [2, 0.5])
    assert infos[0]["TimeLimit.truncated"] is False
    assert infos[1:] == [{}, {}]
    np.testing.assert_array_equal(later[0], [0, 0])
    np.testing.assert_array_equal(obs[0], [1, 0.5], err_msg="an observation changed after it was handed out")

    _, _, dones, infos = env.step(actions)
    assert dones.tolist() == [False, True, False]
    assert infos[1]["TimeLimit.truncated"] is True


def test_works_under_sb3_wrappers() -> None:
    env = VecNormalize(VecMonitor(SB3VecEnv(Counters())), gamma=1.0)
    env.reset()
    actions = np.zeros((3, 1), np.float32)
    seen: list[tuple[int, float, int]] = []
    for _ in range(12):
        _, _, dones, infos = env.step(actions)
        for slot in range(3):
            assert ("episode" in infos[slot]) == bool(dones[slot])
            if dones[slot]:
                seen.append((slot, float(infos[slot]["episode"]["r"]), int(infos[slot]["episode"]["l"])))
    assert len(seen) == 6 + 4 + 3
    assert all(length == slot + 2 and total == slot * (slot + 2) for slot, total, length in seen)


def test_seed_is_used_once() -> None:
    native = Counters()
    env = SB3VecEnv(native)
    env.seed(7)
    env.reset()
    env.reset()
    assert native.seeds == [7, None]


def test_attributes() -> None:
    env = SB3VecEnv(Counters())
    assert env.render_mode is None
    assert env.get_attr("num_envs", [0, 2]) == [3, 3]
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3
    with pytest.raises(AttributeError):
        env.get_attr("no_such_thing")
    with pytest.raises(ValueError, match="shared by all slots"):
        env.set_attr("obs", 1, indices=[0])


def test_refuses_another_autoreset() -> None:
    native = Counters()
    native.__class__ = type("Late", (Counters,), {"metadata": {"autoreset_mode": AutoresetMode.NEXT_STEP}})
    with pytest.raises(ValueError, match="SAME_STEP"):
        SB3VecEnv(native)


def test_gives_what_the_real_environment_gives() -> None:
    tasks = [
        Task(width=4, train_size=40, val_size=20, batch_size=8, steps=4, decisions=number, seed=number)
        for number in (2, 3)
    ]

    def make() -> CifarLambdaVectorEnv:
        return CifarLambdaVectorEnv(2, suite=Suite("tiny", "agent", TaskList(tuple(tasks))))

    native, adapted = make(), SB3VecEnv(make())
    adapted.seed(3)
    first, _ = native.reset(seed=3)
    np.testing.assert_array_equal(adapted.reset(), first)
    rng = np.random.default_rng(0)
    finished = 0
    for _ in range(7):
        actions = rng.uniform(-1, 1, (2, 1)).astype(np.float32)
        obs, reward, terminated, _, info = native.step(actions)
        got, rewards, dones, infos = adapted.step(actions)
        np.testing.assert_array_equal(got, obs)
        np.testing.assert_array_equal(rewards, reward)
        np.testing.assert_array_equal(dones, terminated)
        for slot in np.flatnonzero(dones):
            finished += 1
            np.testing.assert_array_equal(infos[slot]["terminal_observation"], info["final_obs"][slot])
    assert finished >= 4
    native.close()
    adapted.close()
