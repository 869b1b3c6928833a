"""Rates are what counting gives, and their differentiable bounds are bounds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lambda_rl.constraints import (
    excess,
    margins,
    rate,
    rate_at_least,
    rate_at_most,
    recall,
    recall_at_least,
    shortfall,
)


def test_shortfall_and_excess() -> None:
    output = torch.tensor([2.0, 3.0, 4.5], requires_grad=True)
    assert shortfall(output, 3.0).tolist() == [1.0, 0.0, 0.0]
    assert excess(output, 3.0).tolist() == [0.0, 0.0, 1.5]
    (slope,) = torch.autograd.grad(shortfall(output, 2.5).sum(), output)
    assert slope.tolist() == [-1.0, 0.0, 0.0]


@given(st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=20))
def test_the_bounds_of_a_rate(numbers: list[float]) -> None:
    scores = torch.tensor(numbers)
    assert rate(scores) == pytest.approx(sum(number > 0 for number in numbers) / len(numbers))
    assert rate_at_least(scores) <= rate(scores) + 1e-6
    assert rate(scores) <= rate_at_most(scores) + 1e-6


def test_recall_is_what_counting_gives() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(300, 4, generator=generator, requires_grad=True)
    labels = torch.randint(4, (300,), generator=generator)
    right = logits.argmax(1) == labels
    assert torch.equal(margins(logits, labels) > 0, right)
    for label in range(4):
        own = labels == label
        assert recall(logits, labels, label).item() == pytest.approx(right[own].float().mean().item())
        assert recall_at_least(logits, labels, label) <= recall(logits, labels, label)
    assert not recall(logits, labels, 1).requires_grad
    (slope,) = torch.autograd.grad(recall_at_least(logits, labels, 1), logits)
    assert slope[labels == 1][:, 1].min() >= 0  # a larger logit of the class never lowers it
    assert not slope[labels != 1].any()


def test_what_cannot_be_measured() -> None:
    logits, labels = torch.zeros(5, 3), torch.zeros(5, dtype=torch.long)
    with pytest.raises(
        ValueError, match="no example has the label 2: measure recall over more examples, or leave"
    ):
        recall(logits, labels, 2)
    with pytest.raises(ValueError, match="label must be a whole number of 0 or more"):
        recall(logits, labels, -1)
    for bad in (torch.zeros(5), torch.zeros(5, 1), torch.zeros(4, 3)):
        with pytest.raises(ValueError, match=r"margins are of logits \[examples, classes\]"):
            margins(bad, labels)
    for function in (rate, rate_at_least, rate_at_most):
        with pytest.raises(ValueError, match="a rate is of one score or more, got none"):
            function(torch.zeros(0))
