"""The policy: same actions as SB3, and its card as text."""

import itertools

import numpy as np
import pytest

from lambda_rl import Policy, PolicyCard, describe
from lambda_rl.features import NUM_FEATURES
from lambda_rl.policy import policy_from_arrays

CARD = PolicyCard(
    max_change=0.5,
    log_lam_min=-5.0,
    log_lam_max=0.5,
    suite="cifar-mlp",
    data="synthetic",
    commit="abc123",
    command="train_agent.py --preset quick",
    results={"test_accuracy": 0.36, "tasks": ["a", "b"]},
)


def make_policy(seed: int = 0, card: PolicyCard = CARD, hidden: int = 16, scale: float = 0.5) -> Policy:
    rng = np.random.default_rng(seed)
    sizes = (NUM_FEATURES, hidden, hidden, 1)
    return policy_from_arrays(
        obs_mean=rng.normal(size=NUM_FEATURES),
        obs_var=rng.uniform(0.1, 2.0, NUM_FEATURES),
        layers=[
            (scale * rng.normal(size=(n, m)), scale * rng.normal(size=n))
            for m, n in itertools.pairwise(sizes)
        ],
        card=card,
    )


def test_equals_sb3_predict():
    gymnasium = pytest.importorskip("gymnasium")
    sb3 = pytest.importorskip("stable_baselines3")
    torch = pytest.importorskip("torch")
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    class Dummy(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-5.0, 5.0, (NUM_FEATURES,), np.float32)
        action_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            return np.zeros(NUM_FEATURES, np.float32), {}

    norm = VecNormalize(DummyVecEnv([Dummy]), norm_reward=False, clip_obs=7.0)
    model = sb3.PPO(
        "MlpPolicy", norm, seed=1, device="cpu", n_steps=8, batch_size=8,
        policy_kwargs={"net_arch": [64, 64], "activation_fn": torch.nn.Tanh},
    )  # fmt: skip
    rng = np.random.default_rng(2)
    norm.obs_rms.mean = rng.normal(size=NUM_FEATURES)
    norm.obs_rms.var = rng.uniform(1e-6, 4.0, NUM_FEATURES)
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
    obs = rng.uniform(-5, 5, (1000, NUM_FEATURES)).astype(np.float32)
    expected, _ = model.predict(norm.normalize_obs(obs), deterministic=True)
    actions = policy.act(obs)
    assert actions.shape == (1000, 1)
    assert actions.dtype == np.float32
    assert 50 < (np.abs(expected) < 1).sum() < 950  # some clipped, some not, or the test shows little
    np.testing.assert_allclose(actions, expected, atol=1e-6, rtol=0)


def test_action_does_not_depend_on_the_batch():
    policy = make_policy()
    obs = np.random.default_rng(0).uniform(-5, 5, (50, NUM_FEATURES)).astype(np.float32)
    alone = np.stack([policy.act(row) for row in obs])
    np.testing.assert_allclose(policy.act(obs), alone, atol=1e-7, rtol=0)


def test_describe():
    text = describe(make_policy())
    for part in ("cifar-mlp", "abc123", "coupled", "test_accuracy: 0.36", "1e-05 to 3.16", "train_agent.py"):
        assert part in text


def test_a_policy_that_cannot_act_is_refused():
    with pytest.raises(ValueError, match="non-finite"):
        policy_from_arrays(
            obs_mean=np.zeros(NUM_FEATURES),
            obs_var=np.ones(NUM_FEATURES),
            layers=[(np.full((1, NUM_FEATURES), np.nan), np.zeros(1))],
            card=CARD,
        )
