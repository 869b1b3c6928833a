"""The card of a policy: every bound, and the road from format 1."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from tiny_policies import CARD, LAM

from lambda_rl import FEATURES, Knob, PolicyCard
from lambda_rl.observation import FEATURES_VERSION
from lambda_rl.policy.card import FEATURES_1

OTHER = Knob("other", -1.0, 1.0, 0.1)


def test_a_card_comes_back_from_json_as_it_was() -> None:
    card = dataclasses.replace(
        CARD, knobs=(LAM, OTHER), initial=(0.02, None), features=FEATURES.names()[3:9][::-1]
    )
    card = dataclasses.replace(card, feature_versions=())
    again = PolicyCard.from_dict(json.loads(json.dumps(card.to_dict())))
    assert again == card
    assert type(again.features) is type(again.knobs) is tuple
    assert json.loads(json.dumps(card.to_dict()))["knobs"][1] == {
        "name": "other", "log_low": -1.0, "log_high": 1.0, "max_change": 0.1
    }  # fmt: skip


def test_what_is_left_empty_has_a_default() -> None:
    card = PolicyCard(knobs=[LAM, OTHER], features=["val_loss"])  # type: ignore[arg-type]
    card.check()
    assert card.initial == (None, None)
    assert card.feature_versions == (FEATURES_VERSION,)
    assert (card.knobs, card.features) == ((LAM, OTHER), ("val_loss",))


BAD: list[tuple[dict[str, Any], str]] = [
    ({"knobs": ()}, "must have 1 to 1000 knobs, got 0"),
    ({"knobs": (LAM, Knob("lam", 0.0, 1.0, 1.0))}, "two knobs have the same name: lam, lam"),
    ({"initial": (None, 0.1)}, "2 values of initial for 1 knobs"),
    ({"initial": (1e9,)}, "initial value 1000000000.0 of the knob lam lies outside its range"),
    ({"initial": (10**400,)}, "initial value a whole number of .* lies outside its range"),
    ({"initial": (0.0,)}, "initial value 0.0 of the knob lam lies outside its range"),
    ({"initial": (float("nan"),)}, "initial value nan of the knob lam lies outside its range"),
    ({"features": ()}, "at least one feature"),
    ({"features": ("progress", "progress"), "feature_versions": (1, 1)}, "a feature is there twice"),
    (
        {"features": ("progress", "phase_of_moon"), "feature_versions": ()},
        "unknown features: phase_of_moon; this",
    ),
    ({"features": ("progress",)}, f"{len(FEATURES)} feature_versions for 1 features"),
    (
        {"features": ("progress",), "feature_versions": (FEATURES_VERSION + 1,)},
        f"version {FEATURES_VERSION + 1} of the feature progress is not known",
    ),
    ({"lam_meaning": "x" * 10**5}, "unknown lam_meaning 'xxx.*; allowed: coupled"),
    ({"penalty": "l3"}, "unknown penalty 'l3'; allowed: "),
    ({"decisions": 0}, "decisions must be a whole number from 1 to 1000000000, got 0"),
    ({"decisions": 10**9 + 1}, "decisions must be a whole number"),
    ({"decisions": 10**400}, "decisions must be a whole number"),
    ({"decisions": True}, "decisions must be a whole number"),
    ({"notes": "x" * 10_001}, "notes has 10001 characters, the longest text is 10000"),
    ({"command": "x" * 10_001}, "command has 10001 characters"),
    ({"results": {"a": json.loads("[" * 20 + "]" * 20)}}, "results are nested more than 20 deep"),
    ({"format_version": 3}, "format version 3 is not known; this lambda_rl reads 1 and 2"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_out_of_bounds_is_refused(change: dict[str, Any], message: str) -> None:
    CARD.check()
    with pytest.raises(ValueError, match=message) as error:
        dataclasses.replace(CARD, **change).check()
    assert len(str(error.value)) < 800


WRONG_TYPES: list[tuple[dict[str, Any], str]] = [
    ({"knobs": {"lam": 1}}, "card: knobs has the wrong type"),
    ({"knobs": [3]}, "card: a knob has the wrong type: 3"),
    ({"knobs": [{"name": "lam"}]}, "knob: missing keys log_high, log_low, max_change"),
    ({"knobs": [{**dataclasses.asdict(LAM), "scale": "x"}]}, "knob: missing keys none; unknown keys scale"),
    ({"knobs": [{**dataclasses.asdict(LAM), "log_high": 10**30}]}, "knob lam: log10 of its largest value"),
    ({"knobs": [{**dataclasses.asdict(LAM), "log_high": "1"}]}, "knob lam: log10 of its largest value"),
    ({"initial": ["1"]}, "initial value of a knob must be a number"),
    ({"initial": [True]}, "initial value of a knob must be a number"),
    ({"initial": 0.1}, "card: initial has the wrong type: 0.1"),
    ({"features": "progress"}, "card: features has the wrong type: 'progress'"),
    ({"features": [["progress"]]}, "card: features has the wrong type"),
    ({"feature_versions": [1.0] * len(FEATURES)}, "card: feature_versions has the wrong type"),
    ({"decisions": "many"}, "card: decisions has the wrong type: 'many'"),
    ({"decisions": 20.0}, "card: decisions has the wrong type: 20.0"),
    ({"results": [1]}, "card: results has the wrong type"),
    ({"suite": None}, "card: suite has the wrong type: None"),
    ({"format_version": True}, "format version True is not known"),
    ({"format_version": 2.0}, "format version 2.0 is not known"),
    ({"format_version": None}, "format version is missing"),
    ({"colour": "red"}, "card: missing keys none; unknown keys colour"),
]


@pytest.mark.parametrize(("change", "message"), WRONG_TYPES, ids=[message[:40] for _, message in WRONG_TYPES])
def test_wrong_types_are_refused(change: dict[str, Any], message: str) -> None:
    values = CARD.to_dict()
    assert PolicyCard.from_dict(values) == CARD
    with pytest.raises(ValueError, match=message):
        PolicyCard.from_dict({**values, **change})


OLD: dict[str, Any] = {
    "max_change": 1, "log_lam_min": -4, "log_lam_max": 0.5, "lam_meaning": "any", "penalty": "l1", "decisions": 7,
    "suite": "s", "data": "d", "commit": "c", "command": "e", "results": {"a": 1}, "initial_lam": 0.01,
    "features": list(FEATURES_1), "features_version": 1, "format_version": 1, "notes": "n",
}  # fmt: skip


def test_a_card_of_format_1_is_read() -> None:
    card = PolicyCard.from_dict(OLD)
    assert card.knobs == (Knob("lam", -4.0, 0.5, 1.0),)
    assert (card.initial, card.features, card.feature_versions) == ((0.01,), FEATURES_1, (1,) * 22)
    same = ("lam_meaning", "penalty", "decisions", "suite", "data", "commit", "command", "results", "notes")
    assert {name: getattr(card, name) for name in same} == {name: OLD[name] for name in same}
    assert card.format_version == 1
    assert card.to_dict()["format_version"] == 2
    assert PolicyCard.from_dict({**OLD, "initial_lam": None}).initial_lam is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_lam_max": 10**30}, "knob lam: log10 of its largest value must be a number from -30 to 30"),
        ({"log_lam_max": 1e308}, "knob lam: log10 of its largest value"),
        ({"log_lam_min": float("nan")}, "knob lam: log10 of its smallest value"),
        ({"log_lam_min": 1.0}, "knob lam: range reversed"),
        ({"max_change": 400}, r"knob lam: max_change \(decades\) must be a number from 0 to 60, got 400"),
        ({"decisions": 10**400}, "decisions must be a whole number"),
        ({"initial_lam": 1e9}, "initial value 1000000000.0 of the knob lam lies outside"),
        ({"features": list(FEATURES_1[::-1])}, "features are not those of format 1, in its order"),
        ({"features": "progress"}, "features are not those of format 1"),
        ({"features_version": 2}, "version 2 of the feature progress is not known"),
        ({"features_version": "1"}, "feature_versions has the wrong type"),
        ({"knobs": []}, "unknown keys knobs"),
        ({"initial": [0.1]}, "unknown keys initial"),
    ],
)
def test_a_bad_card_of_format_1_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PolicyCard.from_dict({**OLD, **change})
    for name in OLD:
        if name != "format_version":
            with pytest.raises(ValueError, match=f"missing keys {name}"):
                PolicyCard.from_dict({key: value for key, value in OLD.items() if key != name})
