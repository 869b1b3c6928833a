"""The policy file: round trip, and every way that a file can be broken."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from test_policy import CARD, make_policy

from lambda_rl import FEATURES, PolicyFileError, load_policy, save_policy
from lambda_rl.features import FEATURES_VERSION, NUM_FEATURES


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
