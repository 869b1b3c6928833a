"""The docstring of the environment, which is its documentation, says what the environment does."""

from __future__ import annotations

import ast
import inspect
import re

import gymnasium as gym
import numpy as np
import pytest
from tiny_envs import DISTRIBUTION, tiny_data

from lambda_rl import FEATURES, ControlLaw
from lambda_rl.envs.env import CifarLambdaEnv
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

DOC = inspect.getdoc(CifarLambdaEnv) or ""


def section(title: str) -> str:
    return DOC.partition(f"## {title}\n")[2].partition("\n## ")[0].partition("\nArgs:\n")[0]


def rows(title: str) -> list[list[str]]:
    """Cells of the table in a section, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def arguments(documented: object) -> list[str]:
    """Names under ``Args:`` of a docstring, in order."""
    listed = (inspect.getdoc(documented) or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    return re.findall(r"^    (\w+): ", listed, flags=re.M)


@pytest.fixture(scope="module")
def env() -> CifarLambdaEnv:
    return CifarLambdaEnv(DISTRIBUTION, tiny_data())


def test_the_table_of_the_observation_has_every_feature_at_its_place(env: CifarLambdaEnv) -> None:
    table = rows("Observation space")
    expected = [
        [str(number), f"`{name}`", feature.meaning, f"{feature.low:g}", f"{feature.high:g}"]
        for number, (name, feature) in enumerate(FEATURES.items())
    ]
    assert table == expected
    assert env.observation_space.shape == (len(table),)


def test_the_table_of_the_action_has_its_bounds(env: CifarLambdaEnv) -> None:
    ((number, name, _, low, high),) = rows("Action space")
    assert (number, name) == ("0", "`lam`")
    assert env.action_space == gym.spaces.Box(float(low), float(high), (1,), np.float32)
    law = ControlLaw()
    assert f"({law.max_change:g} decades)" in section("Action space")
    assert (law.log_lam_min, law.log_lam_max) == (-5, 0.5)
    assert "(10⁻⁵ to 10^0.5)" in section("Action space")


def test_the_reward_is_the_one_of_the_defaults() -> None:
    reward, text = RewardConfig(), " ".join(section("Rewards").split())
    assert (reward.accuracy_weight, reward.log_loss_weight) == (1, 1)
    assert f"accuracy - min(loss / log C, {reward.max_loss:g})``, times {reward.scale:g}" in text
    assert f"on {reward.outer_size} of them" in text


def test_the_section_on_information_names_all_that_is_told(env: CifarLambdaEnv) -> None:
    before, after = section("Information").split("``step`` tells")
    told = [set(re.findall(r"``(\w+)``", part)) for part in (before, after)]
    reset = env.reset(seed=0)[1]
    step = env.step(np.zeros(1, np.float32))[4]
    assert told == [{"reset", *reset}, set(step)]


@pytest.mark.parametrize("kind", [CifarLambdaEnv, CifarLambdaVectorEnv])
def test_every_argument_is_documented_in_its_order(kind: type) -> None:
    assert arguments(kind) == list(inspect.signature(kind).parameters)


def test_the_examples_call_with_arguments_that_there_are() -> None:
    allowed = {"make": CifarLambdaEnv, "make_vec": CifarLambdaVectorEnv}
    called = []
    for block in re.findall(r"```python\n(.*?)```", DOC, flags=re.S):
        for call in (node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Call)):
            assert isinstance(call.func, ast.Attribute)
            names = {keyword.arg for keyword in call.keywords}
            assert names <= inspect.signature(allowed[call.func.attr]).parameters.keys()
            called.append(call.func.attr)
    assert called == ["make", "make", "make_vec"]


def test_the_vector_environment_refers_to_it() -> None:
    assert ":class:`CifarLambdaEnv`" in (inspect.getdoc(CifarLambdaVectorEnv) or "")
