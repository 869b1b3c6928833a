"""The meaning of λ: coupled or decoupled, of which penalty, and what is refused."""

import dataclasses

import pytest
import torch
from tiny_schedules import CARD, FACTS, alone, loop, make_policy
from torch import nn

from lambda_rl import (
    LearnedSchedule,
    parse_schedule,
    save_policy,
)


def test_other_meaning_is_refused_unless_told():
    with pytest.raises(ValueError, match="λ is coupled decay, that of the run is decoupled"):
        loop(torch.optim.AdamW, "coupled")
    with pytest.raises(ValueError, match="λ is decoupled decay, that of the run is coupled"):
        loop(torch.optim.SGD, "decoupled")
    loop(torch.optim.AdamW, "coupled", lam_meaning="coupled")
    loop(torch.optim.AdamW, "decoupled")
    loop(torch.optim.Adam, "coupled")
    loop(torch.optim.Adam, "any")
    with pytest.raises(ValueError, match="but the policy's λ is coupled"):
        loop(torch.optim.AdamW, "coupled", lam_meaning="decoupled")
    with pytest.raises(ValueError, match="allowed: coupled, decoupled"):
        loop(lam_meaning="both")


def test_without_an_optimizer_the_run_can_say_its_meaning(tmp_path):
    with pytest.raises(ValueError, match="λ is coupled decay, that of the run is decoupled"):
        alone(decay="decoupled")
    with pytest.raises(ValueError, match="unknown decay 'weight'; allowed: coupled, decoupled"):
        alone(decay="weight")
    with pytest.raises(ValueError, match="needs an optimizer, or decay="):
        alone(lam_meaning="convert")
    plain, same = alone(), alone(decay="coupled", lam_meaning="convert")
    told, converted = (alone(decay="decoupled", lam_meaning=m) for m in ("coupled", "convert"))
    assert plain.value == same.value == told.value != converted.value
    # A λ that is converted shrinks the weights as much in the policy's average run as it does here.
    assert converted.value / converted.factor == pytest.approx(
        alone(facts=dataclasses.replace(plain.facts, lr_sum=plain.facts.lr_sum * converted.factor)).value
    )
    path = tmp_path / "a, lam_meaning of b.safetensors"
    save_policy(path, plain.policy)
    context = {"facts": plain.facts, "weight_norm": 3.0, "total_steps": 10, "decay": "decoupled"}
    specs = {f"learned:{path},lam_meaning=convert": converted, f"learned:{path}, lam_meaning=coupled": told}
    for spec, expected in specs.items():
        assert parse_schedule(spec)(**context).value == expected.value
    assert parse_schedule(f"learned:{path}")(**{**context, "decay": None}).value == plain.value
    assert parse_schedule("learned:lam_meaning=convert")(**context).factor > 0  # the default policy
    for spec in (f"learned:{path},lam_meaning=both", "learned:lam_meaning="):
        with pytest.raises(ValueError, match="allowed: coupled, decoupled, convert; expected learned"):
            parse_schedule(spec)


def test_group_that_says_it_is_decoupled():
    p = nn.Parameter(torch.ones(2, 2))
    optimizer = torch.optim.NAdam([p], weight_decay=1e-4, decoupled_weight_decay=True)
    with pytest.raises(ValueError, match="is decoupled"):
        LearnedSchedule(optimizer, policy=make_policy(), facts=FACTS)


def test_weight_decay_cannot_be_another_penalty():
    policy = make_policy(card=dataclasses.replace(CARD, penalty="l1"))
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(2, 2))], lr=0.1, weight_decay=1e-4)
    with pytest.raises(ValueError, match="l1 penalty"):
        LearnedSchedule(optimizer, policy=policy, facts=FACTS)
    LearnedSchedule(policy=policy, facts=FACTS, weight_norm=1.0, penalty_sum=3.0)
