"""Policies act to the last bit as they did when their files were written, whatever format those have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from places import GOLDEN

from lambda_rl import load_policy, save_policy

BEFORE = json.loads((GOLDEN / "policy_actions.json").read_text(encoding="utf-8"))
"""Observations of all features of format 1, in its order, and what each policy did before format 2 came."""


def file_of(name: str) -> str | Path:
    return GOLDEN / "format-1.safetensors" if name == "format-1" else name


@pytest.mark.parametrize("name", BEFORE["actions"])
def test_actions_are_those_of_before_to_the_last_bit(name: str, tmp_path: Path) -> None:
    policy = load_policy(file_of(name))
    observations = np.array(BEFORE["observations"], np.float32)
    actions = [float(action).hex() for action in policy.act(observations)[:, 0]]
    assert len(set(actions)) > 30  # not all of them clipped, or this shows little
    assert actions == BEFORE["actions"][name]
    assert policy.fingerprint == BEFORE["fingerprints"][name]
    save_policy(tmp_path / "again.safetensors", policy)
    again = load_policy(tmp_path / "again.safetensors")
    assert np.array_equal(again.act(observations), policy.act(observations))
    assert again.fingerprint == policy.fingerprint
