"""Variants of policies do what their names say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from lambda_rl import Policy, load_policy
from lambda_rl.agents.ablation.families import members
from lambda_rl.agents.fresh_tasks.playing import SideBySide, common
from lambda_rl.agents.fresh_tasks.variants import checked, mean_of, variants, with_steps


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy("any-loop")


@pytest.fixture(scope="module")
def another(policy: Policy) -> Policy:
    """With weights, mean and variance of its own."""
    rng = np.random.default_rng(0)
    return Policy(
        obs_mean=policy.obs_mean + rng.normal(0, 0.1, policy.obs_mean.shape),
        obs_var=policy.obs_var * rng.uniform(0.5, 2.0, policy.obs_var.shape),
        clip_obs=policy.clip_obs,
        epsilon=policy.epsilon,
        layers=[(w + rng.normal(0, 0.05, w.shape), b) for w, b in policy.layers],
        card=policy.card,
    )


def near(policy: Policy, count: int = 50) -> np.ndarray:
    """Observations as in training."""
    rng = np.random.default_rng(1)
    drawn = policy.obs_mean + np.sqrt(policy.obs_var) * rng.normal(size=(count, len(policy.obs_mean)))
    return np.asarray(drawn, np.float32)


def test_longer_steps_have_the_same_aim(policy: Policy) -> None:
    longer, seen = with_steps(policy, 2.0), near(policy)
    inside = np.abs(policy.act(seen)) < 0.999
    assert 5 < inside.sum() < len(inside)  # some aims are further away than a step
    np.testing.assert_allclose(2.0 * longer.act(seen)[inside], 0.5 * policy.act(seen)[inside], atol=1e-5)
    assert np.abs(2.0 * longer.act(seen)).max() > 0.5
    shorter = with_steps(policy, 0.1)
    assert np.abs(0.1 * shorter.act(seen)).max() == pytest.approx(0.1)


def test_the_mean_of_policies_is_that_of_their_actions(policy: Policy, another: Policy) -> None:
    mean, seen = mean_of([policy, another]), near(policy)
    each = np.stack([with_steps(one, 50.0).act(seen) for one in (policy, another)])  # nothing is cut
    np.testing.assert_allclose(with_steps(mean, 50.0).act(seen), each.mean(0), atol=1e-4)
    assert np.abs(each[0] - each[1]).max() > 0.001


def test_a_blind_variant_does_not_change_with_what_it_does_not_see(policy: Policy) -> None:
    blind = variants({"one": policy}, ["time"])["one without time"]
    seen = near(policy)
    other = seen.copy()
    places = [policy.card.features.index(name) for name in members("time")]
    other[:, places] += 0.5
    np.testing.assert_array_equal(blind.act(seen), blind.act(other))
    assert np.abs(policy.act(seen) - policy.act(other)).max() > 0.01


def test_all_variants_are_named(policy: Policy, another: Policy) -> None:
    found = variants({"a": policy, "b": another}, ["time", "ranks"], [1.0], mean=True)
    changed = ("", " without time", " without ranks", " steps of 1")
    assert set(found) == {f"{name}{what}" for name in ("a", "b", "mean") for what in changed}
    assert list(found)[:3] == ["a", "b", "mean"]
    assert len({one.fingerprint for one in found.values()}) == len(found)


def test_each_row_is_another_policy_in_units_of_the_longest_step(policy: Policy, another: Policy) -> None:
    policies = (policy, with_steps(another, 2.0))
    features, control = common(policies)
    assert (features, control.max_change) == (policy.card.features, 2.0)
    seen = near(policy, 5)
    actions = SideBySide(policies, features, control.max_change)(seen)
    assert actions[:3].tolist() == [0.0, 0.0, 0.0]  # rows of constants
    assert 2.0 * actions[3] == pytest.approx(0.5 * float(policy.act(seen[3])[0]), abs=1e-6)
    assert actions[4] == pytest.approx(float(policies[1].act(seen[4])[0]))


def test_what_cannot_be_played_is_refused(policy: Policy) -> None:
    with pytest.raises(ValueError, match="no policy is given"):
        checked({})
    with pytest.raises(ValueError, match="cifar-mlp moves lam, not κ alone"):
        checked({"any-loop": policy, "cifar-mlp": load_policy("cifar-mlp")})
    (knob,) = policy.card.knobs
    card = dataclasses.replace(policy.card, knobs=(dataclasses.replace(knob, log_high=1.0),))
    narrow = Policy(
        obs_mean=policy.obs_mean, obs_var=policy.obs_var, clip_obs=10.0, epsilon=1e-8, layers=policy.layers, card=card
    )  # fmt: skip
    with pytest.raises(ValueError, match="differ in the range"):
        checked({"a": policy, "b": narrow})
    with pytest.raises(ValueError, match="unknown family of features 'tim'"):
        variants({"a": policy}, ["tim"])
    with pytest.raises(ValueError, match="max_change must be positive"):
        variants({"a": policy}, max_change=[0.0])
    with pytest.raises(ValueError, match="only policies with the same"):
        mean_of([policy, with_steps(policy, 1.0)])
