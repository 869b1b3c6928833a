"""Parameter groups that are added, copied, removed or moved while a schedule writes to them."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from lambda_rl import Constant, PullDown, Schedule, Steps


def weight() -> nn.Parameter:
    return nn.Parameter(torch.ones(3, 2))


def optimizer_for(*decays: float, kind: Any = torch.optim.SGD) -> torch.optim.Optimizer:
    return kind([{"params": [weight()], "weight_decay": decay} for decay in decays], lr=0.1)


def decays(optimizer: torch.optim.Optimizer) -> list[float]:
    return [float(group["weight_decay"]) for group in optimizer.param_groups]


def update(optimizer: torch.optim.Optimizer) -> None:
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.full_like(p, 0.01)
    optimizer.step()


# ---- added


@pytest.mark.parametrize(
    ("group", "message"),
    [
        ({"weight_decay": -1.0}, "weight_decay of every group must be finite and 0 or more, got -1"),
        ({"weight_decay": math.nan}, "weight_decay of every group must be finite"),
        ({"weight_decay": math.inf}, "weight_decay of every group must be finite"),
        ({"weight_decay": 1e-4, "wd_mult": -1.0}, "wd_mult of every group must be finite"),
        ({"weight_decay": torch.tensor(1)}, "must be floating point and not require grad"),
    ],
)
def test_a_group_added_later_is_checked_as_the_first_ones_were(group: dict[str, Any], message: str) -> None:
    optimizer = optimizer_for(1e-2, 0.0)
    schedule = PullDown(0.3, 0.003, optimizer=optimizer, total_steps=10)
    optimizer.add_param_group({"params": [weight()], **group})
    before = schedule.state_dict()
    with pytest.raises(ValueError, match=message):
        schedule.step(step=5)
    assert schedule.state_dict() == before
    assert decays(optimizer)[:2] == [0.3, 0.0]
    with pytest.raises(ValueError, match=message):
        Constant(0.1, optimizer)


@pytest.mark.parametrize("tensor", [False, True])
def test_a_decay_copied_from_a_group_in_force_means_its_multiplier(tensor: bool) -> None:
    """As ``{"params": …, "weight_decay": optimizer.param_groups[0]["weight_decay"]}`` when a layer is unfrozen."""
    optimizer = optimizer_for(1e-2, 5e-3, 0.0, kind=torch.optim.AdamW)
    if tensor:
        for group in optimizer.param_groups[:2]:
            group["weight_decay"] = torch.tensor(group["weight_decay"])
    schedule = Steps([0.16, 0.32], optimizer, total_steps=2)
    for i in (0, 1, 2):
        decay = optimizer.param_groups[i]["weight_decay"]
        optimizer.add_param_group(
            {
                "params": [weight()],
                "weight_decay": decay.clone() if isinstance(decay, torch.Tensor) else decay,
            }
        )
    optimizer.add_param_group({"params": [weight()], "weight_decay": 2e-2})  # no such decay is in force
    schedule.step(step=1)
    assert decays(optimizer) == pytest.approx([0.32, 0.16, 0.0, 0.32, 0.16, 0.0, 0.64])


@pytest.mark.parametrize("added_before_the_schedule", [False, True])
def test_a_checkpoint_before_the_next_step_can_be_loaded(added_before_the_schedule: bool) -> None:
    """As when a layer is unfrozen at the end of an epoch; what follows is as if nothing had been saved."""

    def make() -> tuple[torch.optim.Optimizer, Schedule]:
        optimizer = optimizer_for(1e-2, 0.0)
        return optimizer, PullDown(0.3, 0.003, optimizer=optimizer, total_steps=10)

    def added(optimizer: torch.optim.Optimizer) -> None:
        optimizer.add_param_group({"params": [weight()], "weight_decay": 5e-3})

    optimizer, schedule = make()
    for _ in range(4):
        update(optimizer)
        schedule.step()
    added(optimizer)
    schedule_state, optimizer_state = json.loads(json.dumps(schedule.state_dict())), optimizer.state_dict()

    if added_before_the_schedule:
        other = optimizer_for(1e-2, 0.0, 5e-3)
        resumed: Schedule = PullDown(0.3, 0.003, optimizer=other, total_steps=10)
    else:
        other, resumed = make()
        added(other)
    other.load_state_dict(optimizer_state)
    resumed.load_state_dict(schedule_state)
    assert decays(other) == decays(optimizer)  # the new group has its own decay until the next call
    assert resumed.state_dict() == schedule.state_dict()
    for _ in range(2):
        for one, its in ((optimizer, schedule), (other, resumed)):
            update(one)
            its.step()
        assert decays(other) == decays(optimizer)
        assert resumed.state_dict() == schedule.state_dict()
    assert decays(other)[2] == pytest.approx(0.5 * resumed.value)


def test_a_state_with_groups_that_are_not_there_is_refused() -> None:
    optimizer = optimizer_for(1e-2, 0.0)
    schedule = Constant(0.1, optimizer)
    optimizer.add_param_group({"params": [weight()], "weight_decay": 5e-3})
    with pytest.raises(ValueError, match=r"for parameter groups \[3\], the optimizer has \[2\]"):
        Constant(0.1, optimizer_for(1e-2, 0.0)).load_state_dict(schedule.state_dict())


# ---- removed, moved, replaced


def removed_first(optimizer: torch.optim.Optimizer) -> None:
    del optimizer.param_groups[0]


def removed_last(optimizer: torch.optim.Optimizer) -> None:
    del optimizer.param_groups[2]


def reordered(optimizer: torch.optim.Optimizer) -> None:
    optimizer.param_groups.reverse()


def exchanged(optimizer: torch.optim.Optimizer) -> None:
    """Weights go, biases come, and there are as many groups as before."""
    del optimizer.param_groups[2]
    optimizer.add_param_group({"params": [weight()], "weight_decay": 0.0})


@pytest.mark.parametrize("change", [removed_first, removed_last, reordered, exchanged])
def test_lam_never_goes_to_a_group_that_took_the_place_of_another(change: Any) -> None:
    optimizer = optimizer_for(1e-2, 0.0, 5e-3)
    without = optimizer.param_groups[1]
    schedule = Steps([0.2, 0.1], optimizer, total_steps=2)
    change(optimizer)
    untouched = decays(optimizer)
    for _ in range(2):  # it stays refused
        with pytest.raises(ValueError, match=r"parameter group \d of SGD is not the one that it was"):
            schedule.step(step=1)
    assert decays(optimizer) == untouched
    assert without["weight_decay"] == 0.0
    assert schedule.value == 0.2


def test_parameters_may_be_replaced_added_and_removed_within_a_group() -> None:
    """As wrappers do that shard or pad a network, and as a loop does that unfreezes a layer."""
    optimizer = optimizer_for(1e-2, 0.0)
    schedule = Steps([0.2, 0.1, 0.05], optimizer, total_steps=3)
    optimizer.param_groups[0]["params"].insert(0, weight())
    schedule.step(step=1)
    for group in optimizer.param_groups:
        group["params"] = [weight()]
    schedule.step(step=2)
    assert decays(optimizer) == [0.05, 0.0]


def test_a_checkpoint_that_replaces_the_groups_is_nothing_odd() -> None:
    optimizer = optimizer_for(1e-2, 0.0)
    schedule = Steps([0.2, 0.1], optimizer, total_steps=2)
    optimizer.load_state_dict(optimizer.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step(step=1)
    assert decays(optimizer) == [0.1, 0.0]


# ---- two masters


def test_two_schedules_on_one_optimizer_are_told_of_each_other() -> None:
    optimizer = optimizer_for(1e-2, 0.0)
    first = Constant(0.1, optimizer)
    second = Constant(0.2, optimizer)
    with pytest.warns(RuntimeWarning, match="weight_decay was changed by somebody else"):
        first.step()
    with pytest.warns(RuntimeWarning, match="weight_decay was changed by somebody else"):
        second.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first.step()  # once each
        second.step()
    assert decays(optimizer) == [0.2, 0.0]
