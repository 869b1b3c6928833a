"""The policy file: same actions as SB3, round trip, and every way that a file can be broken."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from lambda_rl import FEATURES, Policy, PolicyCard, PolicyFileError, describe, load_policy, save_policy
from lambda_rl.features import FEATURES_VERSION, NUM_FEATURES
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


def rewrite(path, *, tensors=None, metadata=None, drop=()):
    """Saves a policy file and then changes tensors, or keys of its JSON."""
    save_policy(path, make_policy())
    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["lambda_rl_policy"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata is not None:
        metadata(about)
    for name in drop:
        del arrays[name]
    arrays.update(tensors or {})
    save_file(arrays, path, metadata={"lambda_rl_policy": json.dumps(about)})
    return path


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


def test_round_trip(tmp_path):
    policy, path = make_policy(), tmp_path / "sub" / "p.safetensors"
    save_policy(path, policy)
    loaded = load_policy(str(path))
    assert loaded.card == CARD
    assert loaded.fingerprint == policy.fingerprint
    obs = np.random.default_rng(0).normal(size=(9, NUM_FEATURES)).astype(np.float32)
    assert np.array_equal(loaded.act(obs), policy.act(obs))
    before = path.read_bytes()
    save_policy(path, loaded)
    assert path.read_bytes() == before
    other = dataclasses.replace(CARD, commit="def")
    save_policy(path, policy, other)
    assert load_policy(path).card == other
    assert [p.name for p in path.parent.iterdir()] == ["p.safetensors"]  # no temporary file is left
    assert make_policy(1).fingerprint != policy.fingerprint


def test_describe():
    text = describe(make_policy())
    for part in ("cifar-mlp", "abc123", "coupled", "test_accuracy: 0.36", "1e-05 to 3.16", "train_agent.py"):
        assert part in text


def test_truncated_at_every_length(tmp_path):
    path = tmp_path / "p.safetensors"
    save_policy(path, make_policy(hidden=4))
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(PolicyFileError, match=r"p\.safetensors: truncated, or not a safetensors file"):
            load_policy(path)


def test_not_a_policy(tmp_path):
    path = tmp_path / "other.safetensors"
    with pytest.raises(PolicyFileError, match=r"other\.safetensors: no such file"):
        load_policy(path)
    path.write_bytes(b"\x80\x05pickle is not read" * 50)
    with pytest.raises(PolicyFileError, match=r"other\.safetensors"):
        load_policy(path)
    save_file({"w": np.zeros(3, np.float32)}, path)
    with pytest.raises(PolicyFileError, match="not of a lambda_rl policy"):
        load_policy(path)
    save_file({"w": np.zeros(3, np.float32)}, path, metadata={"lambda_rl_policy": "{"})
    with pytest.raises(PolicyFileError, match="not JSON"):
        load_policy(path)
    save_file({"w": np.zeros(3, np.float32)}, path, metadata={"lambda_rl_policy": "[]"})
    with pytest.raises(PolicyFileError, match="missing key 'card'"):
        load_policy(path)


FOREIGN = [*FEATURES[:-1], "phase_of_moon"]
BAD_METADATA = {
    "newer format": (lambda a: a["card"].update(format_version=99), "format version 99 is not known"),
    "no format": (lambda a: a["card"].pop("format_version"), "format version is missing"),
    "feature": (
        lambda a: a["card"].update(features=FOREIGN),
        f"unknown 'phase_of_moon'; missing '{FEATURES[-1]}'",
    ),
    "order": (lambda a: a["card"].update(features=list(FEATURES[::-1])), "another order"),
    "features version": (
        lambda a: a["card"].update(features_version=FEATURES_VERSION + 1),
        f"features version {FEATURES_VERSION + 1} is not known",
    ),
    "range": (lambda a: a["card"].update(log_lam_min=1.0), "range reversed"),
    "nan": (lambda a: a["card"].update(log_lam_min=float("nan")), "must be finite"),
    "change": (lambda a: a["card"].update(max_change=0), "max_change must be positive"),
    "missing": (lambda a: a["card"].pop("suite"), "missing keys suite"),
    "unknown": (lambda a: a["card"].update(colour="red"), "unknown keys colour"),
    "type": (lambda a: a["card"].update(decisions="many"), "decisions has the wrong type"),
    "features type": (lambda a: a["card"].update(features="progress"), "features has the wrong type"),
    "meaning": (lambda a: a["card"].update(lam_meaning="other"), "unknown lam_meaning 'other'"),
    "penalty": (lambda a: a["card"].update(penalty="l3"), "unknown penalty 'l3'"),
    "start": (lambda a: a["card"].update(initial_lam=1e9), "initial_lam"),
    "clip": (lambda a: a.pop("clip_obs"), "missing keys clip_obs"),
    "clip type": (lambda a: a.update(clip_obs=[1, 2]), "float"),
    "activation": (lambda a: a.update(activation="relu"), "unknown activation 'relu'"),
    "card": (lambda a: a.update(card=3), "missing key 'card'"),
}


@pytest.mark.parametrize("case", BAD_METADATA)
def test_bad_metadata(tmp_path, case):
    change, message = BAD_METADATA[case]
    path = rewrite(tmp_path / "bad.safetensors", metadata=change)
    with pytest.raises(PolicyFileError, match=message) as error:
        load_policy(path)
    assert str(path) in str(error.value)


BAD_TENSORS = {
    "nan": ({"layers.0.weight": np.full((16, NUM_FEATURES), np.nan, np.float32)}, "layers.0.weight"),
    "infinite": ({"obs_mean": np.full(NUM_FEATURES, np.inf)}, "non-finite"),
    "negative variance": ({"obs_var": np.full(NUM_FEATURES, -1.0)}, "negative"),
    "input": ({"layers.0.weight": np.zeros((16, 3), np.float32)}, "layer 0 has weight"),
    "normaliser": ({"obs_mean": np.zeros(3)}, "obs_mean has shape"),
    "bias": ({"layers.1.bias": np.zeros(3, np.float32)}, "layer 1"),
    "outputs": (
        {"layers.2.weight": np.zeros((2, 16), np.float32), "layers.2.bias": np.zeros(2, np.float32)},
        "2 outputs",
    ),
    "extra": ({"surprise": np.zeros(1, np.float32)}, "unknown: surprise"),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_bad_tensors(tmp_path, case):
    tensors, message = BAD_TENSORS[case]
    path = rewrite(tmp_path / "bad.safetensors", tensors=tensors)
    with pytest.raises(PolicyFileError, match=message) as error:
        load_policy(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["obs_mean", "layers.1.bias", "layers.1.weight"])
def test_missing_tensor(tmp_path, name):
    with pytest.raises(PolicyFileError, match="tensors missing: "):
        load_policy(rewrite(tmp_path / "bad.safetensors", drop=[name]))


def test_bad_policy_is_not_written(tmp_path):
    path = tmp_path / "p.safetensors"
    with pytest.raises(PolicyFileError, match="range reversed"):
        save_policy(path, make_policy(), dataclasses.replace(CARD, log_lam_min=2.0))
    with pytest.raises(PolicyFileError, match="not written"):
        save_policy(path, make_policy(), dataclasses.replace(CARD, results={"x": object()}))
    assert not path.exists()
    with pytest.raises(ValueError, match="non-finite"):
        policy_from_arrays(
            obs_mean=np.zeros(NUM_FEATURES),
            obs_var=np.ones(NUM_FEATURES),
            layers=[(np.full((1, NUM_FEATURES), np.nan), np.zeros(1))],
            card=CARD,
        )
