"""The worked examples of the safety rules are what the rules do."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from tiny_policies import CARD, LAM

from lambda_rl import policy_from_arrays
from lambda_rl.schedules import safety
from lambda_rl.schedules.safety import AT_BOUND, FAR, FAR_FEATURES, Safety

DOC = safety.__doc__ or ""
ENTRIES = re.findall(r"^    (\w+) +(-?[\d.]+) +([\d.]+) +(-?[\d.]+) +([\d.]+)( +far)?$", DOC, flags=re.M)


def rules(
    names: list[str], mean: list[float], deviation: list[float], log_lam: float
) -> tuple[Safety, list[str]]:
    """The rules of a policy with such a normaliser, and the texts of their warnings as they come."""
    policy = policy_from_arrays(
        obs_mean=mean, obs_var=np.square(deviation), layers=[(np.ones((1, len(names))), np.zeros(1))],
        card=dataclasses.replace(CARD, features=tuple(names), feature_versions=()), epsilon=1e-12,
    )  # fmt: skip
    told: list[str] = []
    return Safety(policy, log_lam, lambda reason, text: told.append(text)), told


def test_the_example_of_entries_far_outside_training() -> None:
    names = [name for name, *_ in ENTRIES]
    mean, deviation, now, away = (np.array([float(entry[i]) for entry in ENTRIES]) for i in range(1, 5))
    far = np.array([bool(entry[5]) for entry in ENTRIES])
    assert np.abs(now - mean) / deviation == pytest.approx(away, abs=0.06)
    assert (far == (away > FAR)).all()
    assert far.sum() == FAR_FEATURES

    rule, told = rules(names, mean.tolist(), deviation.tolist(), 0.0)
    assert rule.far(now.astype(np.float32))
    assert [f"({', '.join(np.array(names)[far])})" in text for text in told] == [True]
    calm = np.where([name.startswith("delta") for name in names], 0.0, now)
    assert not rule.far(calm.astype(np.float32))


def test_the_example_of_the_end_of_the_range() -> None:
    def row(name: str) -> list[float]:
        (line,) = re.findall(rf"^    {name} +(.*)$", DOC, flags=re.M)
        return [float(word) for word in line.split()]

    log_lam = -0.2
    rule, told = rules(["progress"], [0.0], [1.0], log_lam)
    columns = zip(*(row(name) for name in ("decision", "action", "asked", "beyond", "log₁₀ λ")), strict=True)
    for decision, action, asked, beyond, expected in columns:
        wish = CARD.control.apply(log_lam, action)
        log_lam = rule.within(wish, action)
        assert (wish, log_lam) == pytest.approx((asked, expected)), decision
        assert rule.state_dict()["beyond"] == beyond
        assert rule.holding == (beyond > AT_BOUND)
    assert decision == 9
    assert max(row("asked")) == LAM.log_high
    assert all("upper end" in text for text in told)
