"""A constant weight decay for a decay budget κ."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lambda_rl import LearnedSchedule, Suggestion, split_parameters, suggest_weight_decay
from lambda_rl.cli import main
from lambda_rl.observation.facts import ADAM_PULL
from lambda_rl.suggest.kappa_law import FORMAT, KappaLaw, Known, load_kappa_law

CONSTANT = {"kappa": 2.0, "low": 1.0, "high": 4.0}
LAW = {
    "intercept": 0.5, "terms": {"log_epochs": 0.5}, "covariance": [[0.01, 0.0], [0.0, 0.0]], "lowest": -1.0,
    "highest": 1.5,
}  # fmt: skip
TABLE = {"format": FORMAT, "constant": CONSTANT, "law": LAW, "tasks": 9, "source": "", "command": ""}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def shrinking(optimizer: torch.optim.Optimizer, model: nn.Module, steps: int) -> float:
    """e-foldings by which decay alone shrinks the weights: there is no other gradient."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    start = torch.cat([w.detach().flatten() for w in weights]).norm()
    for _ in range(steps):
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
    return math.log(start / torch.cat([w.detach().flatten() for w in weights]).norm())


@pytest.mark.parametrize("kind", ["sgd", "momentum", "adamw"])
def test_decay_alone_shrinks_the_weights_by_kappa(kind: str) -> None:
    model, steps = network(), 2000
    groups = split_parameters(model, 1e-4)
    optimizer: torch.optim.Optimizer = (
        torch.optim.AdamW(groups, lr=1e-3)
        if kind == "adamw"
        else torch.optim.SGD(groups, lr=0.01, momentum=0.9 if kind == "momentum" else 0.0)
    )
    suggest_weight_decay(optimizer, steps, kappa=1.5).apply(optimizer)
    assert shrinking(optimizer, model, steps) == pytest.approx(1.5, rel=0.02)
    assert optimizer.param_groups[1]["weight_decay"] == 0.0


def test_the_number_its_kappa_and_interval() -> None:
    optimizer = torch.optim.AdamW(network().parameters(), lr=1e-3)
    found = suggest_weight_decay(optimizer, 10_000)
    assert isinstance(found, Suggestion)
    assert found.kappa == pytest.approx(10.0 ** load_kappa_law().constant[0])
    assert found.interval[0] <= found.kappa <= found.interval[1]
    assert float(found) == found.weight_decay == pytest.approx(found.kappa / 10.0)
    assert suggest_weight_decay(optimizer, 10_000, kappa=0.0).weight_decay == 0.0
    assert suggest_weight_decay(optimizer, 10_000, kappa=3.0).interval == (3.0, 3.0)
    # half the learning rate on average, twice the decay
    assert suggest_weight_decay(optimizer, 10_000, lr_sum=5.0, kappa=1.0).weight_decay == pytest.approx(0.2)


def test_coupled_adam_pulls_harder() -> None:
    adam = torch.optim.Adam(network().parameters(), lr=1e-3)
    assert suggest_weight_decay(adam, 1000, kappa=2.0).weight_decay == pytest.approx(2.0 / ADAM_PULL)
    decoupled = torch.optim.Adam(network().parameters(), lr=1e-3, decoupled_weight_decay=True)
    assert suggest_weight_decay(decoupled, 1000, kappa=2.0).weight_decay == pytest.approx(2.0)


def test_the_peak_rate_counts_and_not_that_of_the_warm_up() -> None:
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1)
    torch.optim.lr_scheduler.LinearLR(optimizer, 0.01)
    assert optimizer.param_groups[0]["lr"] < 0.01
    assert suggest_weight_decay(optimizer, 10, kappa=1.0).weight_decay == pytest.approx(1.0)


def test_several_groups() -> None:
    model = network()
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups: list[dict[str, Any]] = [
        {"params": weights[:1], "lr": 0.1}, {"params": weights[1:], "lr": 0.2}, {"params": biases}
    ]  # fmt: skip
    # none has a decay: all weights get it, each by its own learning rate
    optimizer = torch.optim.SGD([dict(group) for group in groups], lr=0.1)
    found = suggest_weight_decay(optimizer, 100, kappa=1.0)
    assert found.groups == (pytest.approx(0.1), pytest.approx(0.05), None)
    assert found.weight_decay == found.groups[0]  # that of the larger group
    # some have: their ratio stays, and the others have none
    for group, decay in zip(groups, (1e-3, 1e-4, 0.0), strict=True):
        group["weight_decay"] = decay
    optimizer = torch.optim.SGD(groups, lr=0.1)
    assert suggest_weight_decay(optimizer, 100, kappa=1.0).groups == (
        pytest.approx(0.1), pytest.approx(0.005), None
    )  # fmt: skip
    suggest_weight_decay(optimizer, 100, kappa=1.0).apply(optimizer)
    assert [group["weight_decay"] for group in optimizer.param_groups] == pytest.approx([0.1, 0.005, 0.0])
    with pytest.raises(ValueError, match="2 parameter groups"):
        Suggestion(1.0, 1.0, (1.0, 1.0), (1.0, 1.0)).apply(optimizer)


def test_a_tensor_is_filled_in_place() -> None:
    decay = torch.tensor(1e-4)
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1, weight_decay=decay)  # type: ignore[arg-type]
    suggest_weight_decay(optimizer, 100, kappa=2.0).apply(optimizer)
    assert optimizer.param_groups[0]["weight_decay"] is decay
    assert float(decay) == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("make", "one_cycle"),
    [
        (lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9), False),
        (lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9), True),
        (lambda groups: torch.optim.Adam(groups, lr=0.01), False),
        (lambda groups: torch.optim.AdamW(groups, lr=0.01), False),
    ],
)
def test_a_run_that_is_scheduled_has_the_same_kappa(make: Callable[..., Any], one_cycle: bool) -> None:
    """One meaning of κ: that of the default policy, its peak under OneCycleLR and Adam's pull included."""
    optimizer = make(split_parameters(network(), 1e-4))
    if one_cycle:
        torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=50)
    known = {"num_train": 100, "val_size": 10, "num_classes": 3, "batch_size": 10}
    schedule = LearnedSchedule(optimizer, total_steps=50, **known)
    found = suggest_weight_decay(optimizer, 50, kappa=schedule.kappa)
    assert found.weight_decay == pytest.approx(schedule.value)


def test_bad_input_is_refused() -> None:
    optimizer = torch.optim.SGD(network().parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"torch\.optim\.Optimizer"):
        suggest_weight_decay(network(), 10)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="total_steps"):
        suggest_weight_decay(optimizer, 0)
    for name, value in (("kappa", -1.0), ("lr_sum", 0.0), ("epochs", math.nan), ("num_train", 0.5)):
        with pytest.raises(ValueError, match=name):
            suggest_weight_decay(optimizer, 10, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="learning rate of SGD is 0"):
        suggest_weight_decay(torch.optim.SGD(network().parameters(), lr=0.0), 10)
    with pytest.raises(ValueError, match="LBFGS has no weight_decay"):
        suggest_weight_decay(torch.optim.LBFGS(network().parameters()), 10)
    with pytest.raises(ValueError, match="no weights of two or more"):
        suggest_weight_decay(torch.optim.SGD([nn.Parameter(torch.ones(3))], lr=0.1), 10)


def test_a_law_is_used_where_the_run_says_enough() -> None:
    law = KappaLaw.from_dict(TABLE)
    assert law.kappa(Known()) == (pytest.approx(2.0), pytest.approx(1.0), pytest.approx(4.0))
    middle, low, high = law.kappa(Known(epochs=10.0))
    assert (middle, low, high) == (pytest.approx(10.0), pytest.approx(10**0.804), pytest.approx(10**1.196))
    assert law.kappa(Known(epochs=1e9))[0] == pytest.approx(10**1.5)  # the end of what was fitted


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format"),
        ({"more": 1}, "must have the keys"),
        ({"constant": {"kappa": 2.0, "low": 3.0, "high": 4.0}}, "does not hold"),
        ({"constant": {"kappa": "2", "low": 1.0, "high": 4.0}}, "kappa must be a number"),
        ({"law": {**LAW, "terms": {"moon": 1.0}}}, "terms must be some of"),
        ({"law": {**LAW, "covariance": [[1.0]]}}, "2 × 2"),
        ({"law": {**LAW, "intercept": math.inf}}, "intercept"),
        ({"law": {**LAW, "lowest": 2.0}}, "above"),
    ],
)
def test_a_table_that_is_none_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text(json.dumps({**TABLE, **change}))
    with pytest.raises(ValueError, match=message) as found:
        load_kappa_law(path)
    assert "table.json" in str(found.value)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "suggest",
                "--optimizer",
                "sgd",
                "--lr",
                "0.1",
                "--momentum",
                "0.9",
                "--steps",
                "2000",
                "--kappa",
                "5",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out == "weight_decay=0.0025  (κ = 5)\n"
    assert main(["suggest", "--optimizer", "adamw", "--lr", "1e-3", "--steps", "1e4"]) == 0
    assert "interval" in capsys.readouterr().out
    assert main(["suggest", "--optimizer", "adam", "--lr", "0", "--steps", "10"]) == 2
    assert "--lr must be above 0" in capsys.readouterr().err
