"""The trust region in a schedule: off by default, around the optimizer's own decay, wider as it is earned."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_schedules import KAPPA_CARD, alone, good, make_policy
from torch import nn

from lambda_rl import LearnedSchedule, split_parameters
from lambda_rl.schedules.guard.trust import STEP

OWN = 0.03


def attached(
    bias: float = 1.0, decay: float = OWN, card: Any = KAPPA_CARD, **options: Any
) -> LearnedSchedule:
    torch.manual_seed(0)
    model = nn.Linear(8, 4)
    optimizer = torch.optim.AdamW(split_parameters(model, decay), lr=0.01)
    policy = make_policy(card=card, bias=bias)
    facts = {"num_train": 64, "val_size": 32, "num_classes": 4, "batch_size": 64, "total_steps": 300}
    return LearnedSchedule(optimizer, policy=policy, decisions=10, **{"guard": False, **facts, **options})


def decades(schedule: LearnedSchedule, own: float = OWN) -> float:
    """From the user's own decay."""
    return math.log10(schedule.value / own)


def test_lambda_stays_near_the_users_own_decay_until_more_is_earned() -> None:
    free, bound = attached(), attached(trust=0.5)
    assert decades(free) > 0.6  # κ starts at the middle of its range
    assert decades(bound) == pytest.approx(0.5)
    bound.step(**good(0))  # the first validation: there is no better and no worse
    assert decades(bound) == pytest.approx(0.5)
    bound.step(**good(1))
    assert decades(bound) == pytest.approx(0.5 + STEP)
    bound.step(**good(2))
    assert decades(bound) == pytest.approx(0.5 + 2 * STEP)
    bound.step(**good(3, val_loss=2.6, train_loss=2.5))  # it underfits
    assert decades(bound) == pytest.approx(0.5)
    assert {row["held"] for row in bound.history} == {"trust"}
    bound.step(**good(4, val_loss=2.6))  # it overfits
    assert decades(bound) == pytest.approx(0.5 + STEP)


def test_the_side_of_less_decay_is_earned_likewise() -> None:
    own = 0.4  # where κ starts, about
    bound = attached(bias=-3.0, decay=own, trust=0.4)
    for i in range(2):
        bound.step(**good(i))
    assert decades(bound, own) == pytest.approx(-0.4 - STEP)
    bound.step(**good(2, val_loss=2.6, train_loss=2.5))
    assert decades(bound, own) == pytest.approx(-0.4 - 2 * STEP)
    bound.step(**good(3, val_loss=2.6))
    assert decades(bound, own) == pytest.approx(-0.4)


def test_auto_is_one_decade_and_none_where_there_is_no_decay() -> None:
    assert decades(attached(trust="auto", decay=OWN / 10)) == pytest.approx(0.0, abs=1e-9)
    plain = alone(policy=make_policy(card=KAPPA_CARD))
    same = alone(policy=make_policy(card=KAPPA_CARD), trust="auto")
    for i in range(5):
        assert same.step(**good(i)) == plain.step(**good(i))
    with pytest.raises(ValueError, match="here there is none; say None or 'auto'"):
        alone(policy=make_policy(card=KAPPA_CARD), trust=1)


@pytest.mark.parametrize("trust", [0, -1.0, math.nan, "wide", math.inf, True])
def test_other_options_are_refused(trust: Any) -> None:
    with pytest.raises(ValueError, match="trust must be 'auto', a number of decades above 0, or None"):
        attached(trust=trust)


def test_a_bounded_run_goes_on_from_its_checkpoint() -> None:
    whole, first = attached(trust=0.5), attached(trust=0.5)
    for i in range(3):
        whole.step(**good(i))
        first.step(**good(i))
    second = attached(trust=0.5, decay=1.0)  # what stands in the optimizer by then is another λ
    second.load_state_dict(first.state_dict())
    assert [whole.step(**good(i)) for i in range(3, 8)] == [second.step(**good(i)) for i in range(3, 8)]
    with pytest.raises(ValueError, match="trust"):
        attached().load_state_dict(first.state_dict())
