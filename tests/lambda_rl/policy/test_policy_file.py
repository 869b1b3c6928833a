"""The policy file: round trip, and every way that a file can be broken."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from tiny_policies import CARD, FORMAT_1, LAM, checksum, content, make_policy, observations, rewrite

from lambda_rl import FEATURES, Knob, PolicyFileError, load_policy, save_policy


def test_round_trip(tmp_path):
    policy, path = make_policy(), tmp_path / "sub" / "p.safetensors"
    save_policy(path, policy)
    loaded = load_policy(str(path))
    assert loaded.card == CARD
    assert loaded.fingerprint == policy.fingerprint
    assert np.array_equal(loaded.act(observations()), policy.act(observations()))
    before = path.read_bytes()
    save_policy(path, loaded)
    assert path.read_bytes() == before
    other = dataclasses.replace(CARD, commit="def")
    save_policy(path, policy, other)
    assert load_policy(path).card == other
    assert [p.name for p in path.parent.iterdir()] == ["p.safetensors"]  # no temporary file is left
    assert make_policy(1).fingerprint != policy.fingerprint


def test_round_trip_of_some_features_and_several_knobs(tmp_path):
    some = FEATURES.names()[2:7][::-1]
    knobs = (LAM, Knob("dropout", 0.0, 0.7, 0.1))
    card = dataclasses.replace(CARD, knobs=knobs, initial=(0.1, None), features=some, feature_versions=())
    policy = make_policy(card=card)
    save_policy(tmp_path / "p.safetensors", policy)
    loaded = load_policy(tmp_path / "p.safetensors")
    assert loaded.card == card
    assert loaded.fingerprint == policy.fingerprint
    read = policy.select(observations())
    assert np.array_equal(loaded.act(read), policy.act(read))
    assert loaded.act(read).shape == (9, 2)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_the_umask_says_who_may_read_a_file(tmp_path, umask):
    before = os.umask(umask)
    try:
        save_policy(tmp_path / "p.safetensors", make_policy())
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "p.safetensors").stat().st_mode) == 0o666 & ~umask


def test_the_file_holds_fingerprint_and_checksum(tmp_path):
    policy = make_policy()
    save_policy(tmp_path / "p.safetensors", policy)
    about, tensors = content(tmp_path / "p.safetensors")
    assert about["fingerprint"] == policy.fingerprint
    assert about["checksum"] == checksum(about, tensors)


def test_a_file_of_format_1_has_neither_and_is_read(tmp_path):
    about, _ = content(FORMAT_1)
    assert not {"fingerprint", "checksum"} & set(about)
    assert about["card"]["format_version"] == 1
    policy = load_policy(FORMAT_1)
    assert policy.card.knobs == (Knob("lam", -4.0, 1.0, 0.25),)
    save_policy(tmp_path / "p.safetensors", policy)
    newer, _ = content(tmp_path / "p.safetensors")
    assert newer["card"]["format_version"] == 2
    assert newer["fingerprint"] == policy.fingerprint
    assert load_policy(tmp_path / "p.safetensors").card == policy.card


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
    for text, message in (
        ("{", "not JSON"),
        ("[]", "missing key 'card'"),
        ('{"card": 3}', "missing key 'card'"),
    ):
        save_file({"w": np.zeros(3, np.float32)}, path, metadata={"lambda_rl_policy": text})
        with pytest.raises(PolicyFileError, match=message):
            load_policy(path)


def of_card(**change: Any):
    return lambda about: about["card"].update(change)


def of_file(**change: Any):
    return lambda about: about.update(change)


LONG = "x" * 100_000
BAD_METADATA = {
    "newer format": (of_card(format_version=99, knobs=3), "format version 99 is not known"),
    "no format": (lambda a: a["card"].pop("format_version"), "format version is missing"),
    "feature": (
        of_card(features=[*FEATURES.names()[:-1], "phase_of_moon"]),
        "unknown features: phase_of_moon; this",
    ),
    "features version": (of_card(feature_versions=[9] * len(FEATURES)), "version 9 of the feature progress"),
    "range": (of_card(knobs=[{**dataclasses.asdict(LAM), "log_low": 1.0}]), "range reversed"),
    "nan": (of_card(knobs=[{**dataclasses.asdict(LAM), "log_low": np.nan}]), "must be a number from -30"),
    "missing": (lambda a: a["card"].pop("suite"), "missing keys suite"),
    "unknown": (of_card(colour="red"), "unknown keys colour"),
    "long key": (of_card(**{LONG: 1}), "unknown keys xxx"),
    "long value": (of_card(penalty=LONG), "unknown penalty 'xxx"),
    "long list": (of_card(features=[LONG] * 30), "unknown features: xxx"),
    "type": (of_card(decisions=LONG), "decisions has the wrong type: 'xxx"),
    "meaning": (of_card(lam_meaning="other"), "unknown lam_meaning 'other'"),
    "start": (of_card(initial=[1e9]), "initial value"),
    "no clip": (lambda a: a.pop("clip_obs"), "missing keys clip_obs"),
    "clip": (of_file(clip_obs=[1, 2]), r"clip_obs must be a number .*, got \[1, 2\]"),
    "epsilon": (of_file(epsilon=10**400), "epsilon must be a number from 1e-12 to 1, got a whole number of"),
    "activation": (of_file(activation="relu"), "unknown activation 'relu'"),
    "long activation": (of_file(activation=LONG), "unknown activation 'xxx"),
    "no fingerprint": (lambda a: a.pop("fingerprint"), "missing keys fingerprint"),
    "fingerprint": (
        of_file(fingerprint="0" * 16),
        "damaged: its fingerprint is [0-9a-f]{16}, the file says '0000",
    ),
    "results": (of_card(results=json.loads("[" * 25 + "]" * 25)), "results has the wrong type"),
    "deep results": (of_card(results={"a": json.loads("[" * 25 + "]" * 25)}), "nested more than 20 deep"),
}


@pytest.mark.parametrize("case", BAD_METADATA)
def test_bad_metadata(tmp_path, case):
    change, message = BAD_METADATA[case]
    path = rewrite(tmp_path / "bad.safetensors", metadata=change)
    with pytest.raises(PolicyFileError, match=message) as error:
        load_policy(path)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 1000  # values are not echoed whole


@pytest.mark.parametrize("where", ["whole", "results", "card"])
def test_json_nested_too_deep(tmp_path, where):
    path = tmp_path / "deep.safetensors"
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        for depth in (300, 900, 3000, 100_000):
            deep = opening * depth + ("1" if closing == "}" else "") + closing * depth
            text = {
                "whole": deep,
                "results": json.dumps(content(FORMAT_1)[0]).replace('{"score": 0.5}', f'{{"a": {deep}}}'),
                "card": f'{{"card": {deep}}}',
            }[where]
            save_file(content(FORMAT_1)[1], path, metadata={"lambda_rl_policy": text})
            with pytest.raises(PolicyFileError, match=r"deep\.safetensors"):
                load_policy(path)


def test_a_changed_byte_is_noticed(tmp_path):
    """Any byte of the tensors, and any of the JSON's that changes what it says."""
    path = tmp_path / "p.safetensors"
    save_policy(path, make_policy(hidden=4))
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    about, tensors = content(path)
    start = 8 + int.from_bytes(whole[:8], "little")
    for position in (*rng.integers(start, len(whole), 100), *rng.integers(8, start, 200)):
        changed = bytearray(whole)
        changed[position] ^= 1 << int(rng.integers(0, 7))
        path.write_bytes(changed)
        try:
            load_policy(path)
        except PolicyFileError:
            continue
        assert position < start
        now, arrays = content(path)  # a blank for a tab, or the like
        assert now == about
        assert all(np.array_equal(arrays[name], tensors[name]) for name in tensors)


def test_every_number_of_the_card_is_under_the_checksum(tmp_path):
    for change in (
        of_card(decisions=21),
        of_card(penalty="l1"),
        of_file(clip_obs=9.0),
        of_card(notes="good"),
    ):
        path = rewrite(tmp_path / "p.safetensors", metadata=change, seal=False)
        with pytest.raises(PolicyFileError, match="damaged: its checksum is not that of its content"):
            load_policy(path)
    path = rewrite(tmp_path / "p.safetensors", metadata=lambda a: a.pop("checksum"), seal=False)
    with pytest.raises(PolicyFileError, match="damaged"):
        load_policy(path)


BAD_TENSORS = {
    "nan": ({"layers.0.weight": np.full((16, len(FEATURES)), np.nan, np.float32)}, "layers.0.weight"),
    "infinite": ({"obs_mean": np.full(len(FEATURES), np.inf)}, "non-finite"),
    "negative variance": ({"obs_var": np.full(len(FEATURES), -1.0)}, "negative"),
    "far mean": ({"obs_mean": np.full(len(FEATURES), 1e300)}, "obs_mean has numbers beyond"),
    "input": ({"layers.0.weight": np.zeros((16, 3), np.float32)}, "layer 0 has weight"),
    "normaliser": ({"obs_mean": np.zeros(3)}, "obs_mean has shape"),
    "bias": ({"layers.1.bias": np.zeros(3, np.float32)}, "layer 1"),
    "no units": (
        {
            "layers.0.weight": np.zeros((0, len(FEATURES)), np.float32),
            "layers.0.bias": np.zeros(0, np.float32),
            "layers.1.weight": np.zeros((16, 0), np.float32),
        },
        "layer 0 has no units",
    ),
    "outputs": (
        {"layers.2.weight": np.zeros((2, 16), np.float32), "layers.2.bias": np.zeros(2, np.float32)},
        "2 outputs",
    ),
    "extra": ({"surprise": np.zeros(1, np.float32)}, "unknown: surprise"),
    "long name": ({LONG: np.zeros(1, np.float32)}, "unknown: xxx"),
    "other weights": ({"layers.1.bias": np.ones(16, np.float32)}, "damaged: its fingerprint"),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_bad_tensors(tmp_path, case):
    tensors, message = BAD_TENSORS[case]
    path = rewrite(tmp_path / "bad.safetensors", tensors=tensors)
    with pytest.raises(PolicyFileError, match=message) as error:
        load_policy(path)
    assert str(path) in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 1000


@pytest.mark.parametrize("dtype", ["int8", "uint8", "bool", "float16", "int64", "float32", "float64"])
@pytest.mark.parametrize("source", [None, FORMAT_1], ids=["format 2", "format 1"])
def test_other_dtypes_are_refused(tmp_path, dtype, source):
    for name in ("obs_mean", "obs_var", "layers.0.weight", "layers.1.bias"):
        path = tmp_path / "bad.safetensors"
        if source is None:
            save_policy(path, make_policy())
        right = content(source or path)[1][name]
        if right.dtype == dtype:
            continue
        rewrite(path, tensors={name: right.astype(dtype)}, source=source)
        with pytest.raises(PolicyFileError, match=f"another dtype than F64 .*: {name} ") as error:
            load_policy(path)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("name", ["obs_mean", "layers.1.bias", "layers.1.weight"])
def test_missing_tensor(tmp_path, name):
    with pytest.raises(PolicyFileError, match="tensors missing: "):
        load_policy(rewrite(tmp_path / "bad.safetensors", drop=[name]))


def test_bad_policy_is_not_written(tmp_path):
    path, cyclic = tmp_path / "p.safetensors", {}
    cyclic["self"] = cyclic
    for change, message in (
        ({"penalty": "l3"}, "unknown penalty"),
        ({"decisions": 0}, "decisions must be"),
        ({"features": FEATURES.names()[:3], "feature_versions": ()}, "obs_mean has shape"),
        ({"knobs": (LAM, Knob("other", 0, 1, 1))}, "1 outputs, expected 2"),
        ({"results": {"x": object()}}, "not JSON serializable"),
        ({"results": cyclic}, "nested more than 20 deep"),
    ):
        with pytest.raises(PolicyFileError, match=f"not written: .*{message}"):
            save_policy(path, make_policy(), dataclasses.replace(CARD, **change))
    assert not path.exists()


def test_nothing_else_is_in_the_header(tmp_path):
    """One entry of metadata: the order of several would change from write to write."""
    path = tmp_path / "p.safetensors"
    save_policy(path, make_policy())
    with safe_open(path, framework="numpy") as file:
        assert list(file.metadata()) == ["lambda_rl_policy"]
