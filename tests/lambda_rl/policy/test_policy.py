"""The policy: same actions as SB3, the features that it reads, its knobs, and what it refuses."""

import dataclasses

import numpy as np
import pytest
from tiny_policies import CARD, LAM, make_policy, observations

from lambda_rl import FEATURES, Knob, Policy, policy_from_arrays

SOME = ("val_loss", "progress", "log_num_params")
DROPOUT = Knob("dropout", 0.0, 0.7, 0.1)


def test_equals_sb3_predict():
    gymnasium = pytest.importorskip("gymnasium")
    sb3 = pytest.importorskip("stable_baselines3")
    torch = pytest.importorskip("torch")
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    class Dummy(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-5.0, 5.0, (len(FEATURES),), np.float32)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            return np.zeros(len(FEATURES), np.float32), {}

    norm = VecNormalize(DummyVecEnv([Dummy]), norm_reward=False, clip_obs=7.0)
    model = sb3.PPO(
        "MlpPolicy", norm, seed=1, device="cpu", n_steps=8, batch_size=8,
        policy_kwargs={"net_arch": [64, 64], "activation_fn": torch.nn.Tanh},
    )  # fmt: skip
    rng = np.random.default_rng(2)
    norm.obs_rms.mean = rng.normal(size=len(FEATURES))
    norm.obs_rms.var = rng.uniform(1e-6, 4.0, len(FEATURES))
    net = model.policy
    with torch.no_grad():
        for name, p in net.named_parameters():
            if "policy_net" in name or "action_net" in name:
                factor = 20.0 if "action_net" in name else 2.0  # the action net starts near 0
                p.copy_(p * factor + 0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(3)))
    linear = [m for m in net.mlp_extractor.policy_net if isinstance(m, torch.nn.Linear)] + [net.action_net]
    policy = policy_from_arrays(
        obs_mean=norm.obs_rms.mean,
        obs_var=norm.obs_rms.var,
        clip_obs=norm.clip_obs,
        epsilon=norm.epsilon,
        layers=[(m.weight.detach().numpy(), m.bias.detach().numpy()) for m in linear],
        card=CARD,
    )
    obs = rng.uniform(-5, 5, (1000, len(FEATURES))).astype(np.float32)
    expected, _ = model.predict(norm.normalize_obs(obs), deterministic=True)
    actions = policy.act(obs)
    assert actions.shape == (1000, 1)
    assert actions.dtype == np.float32
    assert 50 < (np.abs(expected) < 1).sum() < 950  # some clipped, some not, or the test shows little
    np.testing.assert_allclose(actions, expected, atol=1e-6, rtol=0)


def test_action_does_not_depend_on_the_batch():
    policy = make_policy()
    obs = np.random.default_rng(0).uniform(-5, 5, (50, len(FEATURES))).astype(np.float32)
    alone = np.stack([policy.act(row) for row in obs])
    np.testing.assert_allclose(policy.act(obs), alone, atol=1e-7, rtol=0)


def test_a_policy_selects_the_features_that_it_reads_in_its_own_order():
    policy = make_policy(card=dataclasses.replace(CARD, features=SOME, feature_versions=()))
    full = observations()
    read = np.stack([full[:, FEATURES.names().index(name)] for name in SOME], axis=1)
    assert np.array_equal(policy.select(full), read)
    assert np.array_equal(policy.select(full[0]), read[0])
    assert policy.act(policy.select(full)).shape == (9, 1)
    everything = make_policy()
    assert everything.select(full) is full  # nothing is copied


def test_every_order_of_all_features_gives_the_same_actions():
    policy, order = make_policy(), np.random.default_rng(1).permutation(len(FEATURES))
    card = dataclasses.replace(CARD, features=tuple(FEATURES.names()[i] for i in order))
    (weight, bias), *rest = policy.layers
    shuffled = policy_from_arrays(
        obs_mean=policy.obs_mean[order],
        obs_var=policy.obs_var[order],
        layers=[(weight[:, order], bias), *rest],
        card=card,
    )
    full = observations()
    np.testing.assert_allclose(shuffled.act(shuffled.select(full)), policy.act(full), atol=1e-6, rtol=0)
    assert shuffled.fingerprint != policy.fingerprint
    assert shuffled.usual("val_loss") == policy.usual("val_loss")


def test_usual_is_by_name():
    policy = make_policy(card=dataclasses.replace(CARD, features=SOME, feature_versions=()))
    assert [policy.usual(name) for name in SOME] == policy.obs_mean.tolist()
    assert policy.usual("loss_gap") is None
    with pytest.raises(ValueError, match="unknown feature 'phase_of_moon'; allowed: progress, "):
        policy.usual("phase_of_moon")


def test_several_knobs_have_an_action_each():
    card = dataclasses.replace(CARD, knobs=(LAM, DROPOUT), initial=(0.01, None))
    policy = make_policy(card=card)
    actions = policy.act(observations())
    assert actions.shape == (9, 2)
    assert policy.act(observations()[0]).shape == (2,)
    assert np.abs(actions[:, 0] - actions[:, 1]).max() > 0.1
    (first, law), (second, other) = card.controls
    assert (first, second) == (LAM, DROPOUT)
    assert law == card.control
    assert other.apply(0.3, 1.0) == pytest.approx(0.4)
    assert (card.log_lam_min, card.log_lam_max, card.max_change, card.initial_lam) == (-5.0, 0.5, 0.5, 0.01)
    with pytest.raises(ValueError, match=r"has 1 outputs, expected 2 \(one action per knob\)"):
        policy_from_arrays(obs_mean=[0.0], obs_var=[1.0], layers=[([[1.0]], [0.0])],
                           card=dataclasses.replace(card, features=("progress",), feature_versions=()))  # fmt: skip


def test_the_fingerprint_tells_behaviours_apart():
    fingerprints = {
        make_policy(seed, card=card).fingerprint
        for seed, card in (
            (0, CARD),
            (1, CARD),
            (0, dataclasses.replace(CARD, knobs=(Knob("other", -5.0, 0.5, 0.5),))),
            (0, dataclasses.replace(CARD, knobs=(Knob("lam", -5.0, 0.5, 0.6),))),
            (0, dataclasses.replace(CARD, knobs=(LAM, DROPOUT))),
            (0, dataclasses.replace(CARD, knobs=(LAM, Knob("dropout", 0.0, 0.6, 0.1)))),
            (0, dataclasses.replace(CARD, features=FEATURES.names()[::-1])),
        )
    }
    assert len(fingerprints) == 7
    assert make_policy(0, card=dataclasses.replace(CARD, suite="other")).fingerprint in fingerprints
    integers = dataclasses.replace(CARD, knobs=(Knob("lam", -5, 1, 1),))
    assert make_policy(card=integers).fingerprint == make_policy(
        card=dataclasses.replace(CARD, knobs=(Knob("lam", -5.0, 1.0, 1.0),))
    ).fingerprint  # fmt: skip


FITTING = {
    "obs_mean": np.zeros(len(FEATURES)),
    "obs_var": np.ones(len(FEATURES)),
    "layers": [(np.zeros((2, len(FEATURES))), np.zeros(2)), (np.zeros((1, 2)), np.zeros(1))],
    "clip_obs": 10.0,
    "epsilon": 1e-8,
    "card": CARD,
}
EMPTY = [(np.zeros((0, len(FEATURES))), np.zeros(0)), (np.zeros((1, 0)), np.zeros(1))]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": [(np.full((1, len(FEATURES)), np.nan), np.zeros(1))]}, "non-finite"),
        ({"layers": []}, "at least one layer"),
        ({"layers": EMPTY}, "layer 0 has no units"),
        ({"obs_mean": np.full(len(FEATURES), 5.1)}, "obs_mean has numbers beyond ±5"),
        ({"obs_var": np.full(len(FEATURES), -1.0)}, "obs_var has negative numbers, or some above"),
        ({"obs_var": np.full(len(FEATURES), 1e7)}, "obs_var has negative numbers, or some above"),
        ({"clip_obs": 0.0}, "clip_obs must be a number from"),
        ({"clip_obs": 1e300}, "clip_obs must be a number from"),
        ({"clip_obs": "10"}, "clip_obs must be a number from"),
        ({"epsilon": 5e-324}, "epsilon must be a number from"),
        ({"card": dataclasses.replace(CARD, penalty="l3")}, "unknown penalty 'l3'"),
    ],
)
def test_a_policy_that_cannot_act_is_refused(change, message):
    Policy(**FITTING)
    with pytest.raises(ValueError, match=message):
        Policy(**{**FITTING, **change})
