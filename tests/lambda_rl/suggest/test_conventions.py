"""λ in each way to write the penalty: the gradient is the same."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import lambda_rl
from lambda_rl import convert_lam, lam_per_example
from lambda_rl.suggest.conventions import CONVENTIONS

EXAMPLES, WEIGHTS = 40, 12

PENALTIES = {
    "half": lambda lam, w: lam / 2 * w.square().sum(),
    "whole": lambda lam, w: lam * w.square().sum(),
    "per-example": lambda lam, w: lam / (2 * EXAMPLES) * w.square().sum(),
    "per-weight": lambda lam, w: lam / (2 * w.numel()) * w.square().sum(),
}


@pytest.mark.parametrize(("given", "to"), itertools.product(PENALTIES, PENALTIES))
def test_the_gradient_stays_the_same(given: str, to: str) -> None:
    assert PENALTIES.keys() == CONVENTIONS.keys()
    weights = torch.linspace(-1, 2, WEIGHTS, dtype=torch.float64, requires_grad=True)
    lam = convert_lam(0.03, given=given, to=to, num_train=EXAMPLES, num_params=WEIGHTS)
    (wanted,) = torch.autograd.grad(PENALTIES[given](0.03, weights), weights)
    (found,) = torch.autograd.grad(PENALTIES[to](lam, weights), weights)
    torch.testing.assert_close(found, wanted)
    back = convert_lam(lam, given=to, to=given, num_train=EXAMPLES, num_params=WEIGHTS)
    assert back == pytest.approx(0.03)


def test_half_is_the_weight_decay_of_torch() -> None:
    weights = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.SGD([weights], lr=0.1, weight_decay=convert_lam(2.0, given="whole"))
    weights.grad = torch.zeros(3)
    optimizer.step()
    torch.testing.assert_close(weights.detach(), torch.full((3,), 1 - 0.1 * 4.0))


def test_it_agrees_with_the_function_of_before_and_is_public() -> None:
    assert convert_lam(3.0, given="per-example", num_train=60) == lam_per_example(3.0, 60)
    assert "convert_lam" in lambda_rl.__all__


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"given": "hall"},
            "given must be one of half, whole, per-example, per-weight; got 'hall'; did you mean 'half'",
        ),
        ({"to": "mean"}, "to must be one of"),
        ({"to": "per-example"}, "num_train must be a whole number of 1 or more"),
        ({"given": "per-weight", "num_params": 0}, "num_params must be a whole number of 1 or more"),
        ({"lam": -1.0}, "lam must be finite and 0 or more"),
        ({"lam": math.nan}, "lam must be finite"),
    ],
)
def test_bad_input_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert_lam(**{"lam": 0.1, **options})  # type: ignore[arg-type]
