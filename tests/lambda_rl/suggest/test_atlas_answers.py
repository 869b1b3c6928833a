"""What ``suggest`` says by the atlas: κ, an interval, and what it extrapolates."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lambda_rl import suggest_weight_decay
from lambda_rl.cli import main
from lambda_rl.suggest.atlas import FORMAT, RANGES, Atlas, load_atlas
from lambda_rl.suggest.kappa_law import Known, load_kappa_law

TABLE: dict[str, Any] = {
    "format": FORMAT,
    "laws": [
        {"coefficients": {"": 0.0, "log_epochs": 0.5, "log_params_per_example": -0.1}, "below": -0.5, "above": 1.0},
        {"coefficients": {"": -0.5, "log_epochs": 1.0}, "below": -1.0, "above": 0.0},
    ],
    "ranges": {"epochs": [1.0, 100.0], "steps": [10, 1000]},
    "lowest": -2.0, "highest": 2.0, "lr_mean": 0.5, "cells": 9, "command": "",
}  # fmt: skip


def test_the_first_law_that_a_run_says_enough_for_is_taken() -> None:
    atlas = Atlas.from_dict(TABLE)
    full = atlas.answer(Known(100.0, 10.0), {"epochs": 100.0, "steps": 500})
    assert full is not None
    assert full.kappa == pytest.approx(10**0.9)
    assert full.interval == (pytest.approx(10**0.4), pytest.approx(10**1.9))
    assert full.outside == ()
    less = atlas.answer(Known(100.0), {"epochs": 100.0})
    assert less is not None
    assert less.kappa == pytest.approx(10**1.5)
    assert less.interval == (pytest.approx(10**0.5), pytest.approx(10**1.5))
    assert atlas.answer(Known(), {"steps": 500}) is None


def test_what_is_outside_is_named() -> None:
    atlas = Atlas.from_dict(TABLE)
    found = atlas.answer(Known(1e5, 1.0), {"epochs": 1e5, "steps": 5, "num_train": 3})
    assert found is not None
    assert found.kappa == pytest.approx(100.0)  # the end of what was measured
    assert found.outside == (
        "epochs 1e+05 (measured: 1 to 100)",
        "steps 5 (measured: 10 to 1e+03)",
        "κ of the law 316 (measured: 0.01 to 100)",
    )


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 5))


def test_a_suggestion_comes_from_the_atlas_where_epochs_are_told() -> None:
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    known = Known(30.0, 64 * 35 / 1000, True, False, 0.5)
    found = suggest_weight_decay(optimizer, 500, epochs=30.0, num_train=1000, model=model)
    answer = load_atlas().answer(known, {})
    assert answer is not None
    assert (found.kappa, found.interval) == (
        pytest.approx(answer.kappa, rel=0.02),
        pytest.approx(answer.interval, rel=0.02),
    )
    assert found.source == "atlas"
    assert not found.extrapolates
    assert found.weight_decay == pytest.approx(found.kappa / 0.5)
    assert found.interval[0] < found.kappa < found.interval[1]
    # in the atlas rates mostly fall to 0: a run that truly stays at the peak has less λ
    told = suggest_weight_decay(optimizer, 500, epochs=30.0, num_train=1000, model=model, lr_sum=0.5)
    assert told.weight_decay == pytest.approx(found.weight_decay * load_atlas().lr_mean)
    assert told.kappa == pytest.approx(told.weight_decay * 0.5)
    blind = suggest_weight_decay(optimizer, 500)
    assert (blind.source, blind.kappa) == ("constant", load_kappa_law().kappa(Known())[0])
    named = suggest_weight_decay(optimizer, 500, kappa=2.0)
    assert (named.source, named.kappa, named.outside) == ("named", 2.0, ())


def test_what_the_atlas_never_saw_is_told() -> None:
    long = suggest_weight_decay(
        torch.optim.SGD(network().parameters(), lr=0.1), 10**7, epochs=30.0, num_train=10**6
    )
    assert long.extrapolates
    assert [words.split(" ")[0] for words in long.outside][:2] == ["steps", "training"]
    coupled = suggest_weight_decay(torch.optim.Adam(network().parameters(), lr=1e-3), 500, epochs=30.0)
    assert coupled.outside[0] == "Adam with coupled decay"


def test_the_command_tells_where_it_extrapolates(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["suggest", "--optimizer", "adamw", "--lr", "1e-3", "--norm-layers", "no"]
    sizes = ["--num-train", "3000", "--num-params", "40000", "--batch-size", "64"]
    assert main([*words, *sizes, "--steps", "1000"]) == 0
    out = capsys.readouterr().out
    assert "by the atlas" in out
    assert "extrapolated" not in out
    assert main([*words, *sizes, "--steps", "1e6"]) == 0
    assert "extrapolated: steps 1e+06 (measured:" in capsys.readouterr().out
    assert main([*words, "--steps", "1000"]) == 0
    assert "tell --epochs for a better one" in capsys.readouterr().out
    assert main([*words, "--steps", "1000", "--num-params", "40000"]) == 2
    assert "--num-params goes with --num-train" in capsys.readouterr().err


def test_the_shipped_atlas_knows_all_ranges() -> None:
    atlas = load_atlas()
    assert atlas.cells >= 300
    assert atlas.ranges.keys() == RANGES.keys()
    assert len(atlas.laws) == 2
    for law in atlas.laws:
        assert law.below < 0 < law.above


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format"),
        ({"more": 1}, "must have the keys"),
        ({"laws": 3}, "laws must be a list"),
        (
            {"laws": [{"coefficients": {"moon": 1.0}, "below": 0.0, "above": 0.0}]},
            "coefficients must be of some of",
        ),
        ({"laws": [{"coefficients": {"": math.inf}, "below": 0.0, "above": 0.0}]}, "intercept"),
        ({"laws": [{"coefficients": {"": 0.0}, "below": 0.5, "above": 1.0}]}, "below"),
        ({"ranges": {"moon": [0, 1]}}, "ranges must be pairs of"),
        ({"ranges": {"epochs": [2, 1]}}, "ranges: epochs: 2 is above 1"),
        ({"lowest": 3.0}, "lowest=3 is above"),
    ],
)
def test_a_table_that_is_none_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "atlas.json"
    path.write_text(json.dumps({**TABLE, **change}))
    with pytest.raises(ValueError, match=message) as found:
        load_atlas(path)
    assert "atlas.json" in str(found.value)
