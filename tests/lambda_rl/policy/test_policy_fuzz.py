"""Odd values everywhere in a policy file: it is refused in a short message that names it, or all of it works."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from tiny_policies import FACTS, FORMAT_1, content, make_policy, rewrite

from lambda_rl import LearnedSchedule, PolicyFileError, describe, load_policy, save_policy

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 1.5, 1e308, -1e308, 1e-320, 10**30, -(10**400), 2**64, math.nan, math.inf, "", "1",
    "\x00", "\ud800", "x" * 10**5, [], [1], [None], [[]], {}, {"a": 1}, {"format_version": 1},
]  # fmt: skip


def outcome(path: Path) -> str:
    """What becomes of a file: "refused", or "works" after all that is done with a policy."""
    try:
        policy = load_policy(path)
    except PolicyFileError as error:
        told = str(error)
    else:
        assert describe(policy)
        schedule = LearnedSchedule(policy=policy, facts=FACTS, weight_norm=3.0)
        for progress in (0.2, 0.5, 0.9):
            value = schedule.step(progress=progress, train_loss=2.0, val_loss=2.1)
            assert schedule.lam_range[0] <= value <= schedule.lam_range[1]
        return "works"
    assert str(path) in told
    assert len(told) < len(str(path)) + 1000
    return "refused"


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a JSON lie, each as the keys that lead to it; of lists the first entry only."""
    for key in value if isinstance(value, dict) else range(min(len(value), 1)):
        yield (*here, key)
        if isinstance(value[key], (dict, list)):
            yield from places(value[key], (*here, key))


def put(value: Any, place: tuple[Any, ...], odd: Any) -> None:
    for key in place[:-1]:
        value = value[key]
    value[place[-1]] = odd


@pytest.mark.parametrize("source", ["format 1", "format 2"])
def test_odd_values_in_the_json(tmp_path: Path, source: str) -> None:
    first, path = tmp_path / "first.safetensors", tmp_path / "odd.safetensors"
    save_policy(first, make_policy(hidden=2))
    first = FORMAT_1 if source == "format 1" else first
    outcomes: dict[tuple[Any, ...], set[str]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for place in places(content(first)[0]):
            for odd in ODD:
                rewrite(path, metadata=partial(put, place=place, odd=odd), source=first)
                outcomes.setdefault(place, set()).add(outcome(path))
    assert outcomes["card", "penalty"] == outcomes["activation",] == {"refused"}
    assert outcomes["card", "decisions"] == outcomes["card", "notes"] == {"refused", "works"}


def test_odd_numbers_in_the_tensors(tmp_path: Path) -> None:
    first, path = tmp_path / "first.safetensors", tmp_path / "odd.safetensors"
    save_policy(first, make_policy(hidden=2))
    for name, array in content(FORMAT_1)[1].items():
        for odd in (math.nan, math.inf, -1.0, 3e38, 1e-45, 0.0):
            changed = np.full_like(array, odd)
            rewrite(path, tensors={name: changed}, source=FORMAT_1)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                assert outcome(path) in ("refused", "works")
        for shape in ((), (0,), (1,), (*array.shape, 1), array.shape[::-1]):
            if shape != array.shape:
                rewrite(path, tensors={name: np.zeros(shape, array.dtype)}, source=FORMAT_1)
                assert outcome(path) == "refused"


def test_numbers_that_only_json_can_write(tmp_path: Path) -> None:
    about, tensors = content(FORMAT_1)
    path = tmp_path / "odd.safetensors"
    for key in ("max_change", "log_lam_min", "log_lam_max", "initial_lam", "decisions", "features_version"):
        for number in ("9" * 400, "9" * 5000, "-" + "9" * 400, "1e400", "Infinity", "1e3", "true"):
            card = {**about["card"], key: "@@"}
            text = json.dumps({**about, "card": card}).replace('"@@"', number)
            save_file(tensors, path, metadata={"lambda_rl_policy": text})
            assert outcome(path) == "refused", (key, number[:9])
