"""What all schedules share: signals, optimizers, state, history, replay."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_schedules import decays, optimizer_for, update
from torch import nn

from lambda_rl import (
    Constant,
    GapRule,
    ReplaySchedule,
    Steps,
    parse_schedule,
    split_parameters,
)

ARBITRARY = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=32))

PROGRESS = st.floats(0, 3)

SPECS = [
    "constant:0.01",
    "constant:0",
    "steps:3,2,1,0",
    "pull-down:0.3,0.003",
    "pull-down:0.3,0,linear",
    "pull-up:0.003,0.3",
    "pull-up:0.003,0.3,linear",
    "cosine:0.1,0",
    "to-zero:0.1,linear",
    "flat-cosine:0.1,0.3",
    "early-only:0.1,0.5",
    "late-only:0.1,0.5",
    "knots:0.1,0.01,0.3",
    "adamc:0.1",
    "awd:0.02",
    "swd:0.001",
    "gap:initial=0.01,factor=2,threshold=0.05",
    "gap",
]


@pytest.mark.filterwarnings("ignore:.*λ is held")
@settings(max_examples=25)
@given(
    spec=st.sampled_from(SPECS),
    calls=st.lists(st.tuples(PROGRESS, ARBITRARY, ARBITRARY, ARBITRARY, ARBITRARY), max_size=12),
)
def test_any_signals_give_finite_lam_in_range(spec, calls):
    schedule = parse_schedule(spec)()
    low, high = schedule.lam_range
    for progress, train_loss, val_loss, train_accuracy, val_accuracy in calls:
        lam = schedule.step(
            progress=progress,
            train_loss=train_loss,
            val_loss=val_loss,
            train_accuracy=train_accuracy,
            val_accuracy=val_accuracy,
        )
        assert math.isfinite(lam)
        assert low <= lam <= high
        assert lam == schedule.value == schedule.get_last_lambda()
    assert len(schedule.history) == len(calls) + 1
    clone = parse_schedule(spec)()
    clone.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
    assert clone.value == schedule.value


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_writes_decay_keeps_ratios_and_leaves_zero_alone(kind):
    optimizer = optimizer_for(kind, (1e-4, 0.0, 5e-5))
    schedule = Steps([3.0, 0.0, 1.0], optimizer, total_steps=3)
    seen = [decays(optimizer)]
    for i in (1, 2):
        schedule.step(step=i)
        seen.append(decays(optimizer))
    assert seen == [[3.0, 0.0, 1.5], [0.0, 0.0, 0.0], [1.0, 0.0, 0.5]]  # comes back after λ = 0
    assert "wd_mult" not in optimizer.param_groups[1]


def test_wd_mult_of_the_user_wins():
    optimizer = optimizer_for(decays=(1e-4, 1e-4))
    optimizer.param_groups[1]["wd_mult"] = 0.1
    Constant(2.0, optimizer)
    assert decays(optimizer) == pytest.approx([2.0, 0.2])


def test_group_added_later_is_taken_in():
    optimizer = optimizer_for(decays=(1e-4, 0.0))
    schedule = Constant(2.0, optimizer)
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2, 2))], "weight_decay": 5e-5})
    optimizer.add_param_group({"params": [nn.Parameter(torch.ones(2, 2))], "weight_decay": 0.0})
    schedule.step()
    assert decays(optimizer) == [2.0, 0.0, 1.0, 0.0]


def test_tensor_decay_is_filled_in_place():
    optimizer = optimizer_for()
    decay = torch.tensor(1e-4)
    optimizer.param_groups[0]["weight_decay"] = decay
    Constant(0.25, optimizer)
    assert optimizer.param_groups[0]["weight_decay"] is decay
    assert decay.item() == 0.25


def test_no_group_with_decay():
    with pytest.raises(ValueError, match=r"give weight_decay=1e-4"):
        Constant(0.1, optimizer_for(decays=(0.0,)))


def test_several_optimizers():
    a, b = optimizer_for(decays=(1e-4,)), optimizer_for(torch.optim.AdamW, (2e-4, 0.0))
    Constant(2.0, [a, b])
    assert (decays(a), decays(b)) == ([1.0], [2.0, 0.0])


def test_counts_optimizer_steps_not_calls():
    optimizer = optimizer_for()
    schedule = Steps([3, 2, 1, 0], optimizer, total_steps=8)
    seen = []
    for batch in range(16):  # two batches accumulated for a step
        if batch % 2:
            update(optimizer)
        seen.append(schedule.step())
    assert seen == [3.0] * 3 + [2.0] * 4 + [1.0] * 4 + [0.0] * 5


def test_step_skipped_by_grad_scaler_is_not_counted():
    optimizer = optimizer_for()
    schedule = Steps([1, 0], optimizer, total_steps=2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    p = optimizer.param_groups[0]["params"][0]
    for bad, expected in ((True, 1.0), (False, 0.0)):
        p.grad = None
        scaler.scale((p * (math.inf if bad else 1.0)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        assert schedule.step() == expected


def test_with_lr_scheduler_and_real_decay():
    torch.manual_seed(0)
    model = nn.Linear(4, 4)
    optimizer = torch.optim.SGD(split_parameters(model, 1e-4), lr=0.1)
    schedule = Constant(0.5, optimizer, total_steps=3)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
    before, bias = model.weight.detach().clone(), model.bias.detach().clone()
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    scheduler.step()
    schedule.step()
    assert torch.allclose(model.weight, before * (1 - 0.1 * 0.5))
    assert torch.equal(model.bias, bias)


def run(schedule, optimizer, calls):
    for i in calls:
        update(optimizer)
        schedule.step(train_accuracy=0.5 + 0.01 * i, val_accuracy=0.5)


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize("spec", SPECS)
def test_resume_is_exact(spec, kind):
    def fresh():
        optimizer = optimizer_for(kind, (1e-4, 0.0, 5e-5))
        return optimizer, parse_schedule(spec)(optimizer, total_steps=12)

    whole_optimizer, whole = fresh()
    run(whole, whole_optimizer, range(12))

    optimizer, schedule = fresh()
    run(schedule, optimizer, range(7))
    saved = json.loads(json.dumps(schedule.state_dict()))
    weights = [[p.detach().clone() for p in g["params"]] for g in optimizer.param_groups]
    saved_optimizer = optimizer.state_dict()

    optimizer, schedule = fresh()
    optimizer.load_state_dict(saved_optimizer)
    for group, old in zip(optimizer.param_groups, weights, strict=True):
        for p, q in zip(group["params"], old, strict=True):
            p.data.copy_(q)
    schedule.load_state_dict(saved)
    run(schedule, optimizer, range(7, 12))
    assert schedule.history == whole.history
    assert decays(optimizer) == decays(whole_optimizer)
    for a, b in zip(optimizer.param_groups, whole_optimizer.param_groups, strict=True):
        assert torch.equal(a["params"][0], b["params"][0])


def test_schedule_made_after_a_checkpoint_with_lam_zero():
    optimizer = optimizer_for(decays=(1e-4, 0.0))
    schedule = Steps([1, 0, 2], optimizer, total_steps=3)
    schedule.step(step=1)
    new = optimizer_for(decays=(1e-4, 0.0))
    new.load_state_dict(optimizer.state_dict())
    assert decays(new) == [0.0, 0.0]
    resumed = Steps([1, 0, 2], new, total_steps=3)
    resumed.load_state_dict(schedule.state_dict())
    resumed.step(step=2)
    assert decays(new) == [2.0, 0.0]


def test_state_of_something_else_is_refused():
    state = Constant(0.1).state_dict()
    with pytest.raises(ValueError, match="state is of a Constant, this is a Steps"):
        Steps([1]).load_state_dict(state)
    with pytest.raises(ValueError, match=r"lam: 0\.1 in the state, 0\.2 here"):
        Constant(0.2).load_state_dict(state)
    one, two = (
        Constant(0.1, optimizer_for(decays=(1e-4,))),
        Constant(0.1, optimizer_for(decays=(1e-4, 1e-4))),
    )
    with pytest.raises(ValueError, match="parameter groups"):
        two.load_state_dict(one.state_dict())


def test_replay_of_a_feedback_schedule(tmp_path):
    rule = GapRule(initial=0.013, factor=1.7)
    gaps = [0.2, 0.0, 0.03, 0.2, 0.2]
    points = [0.1, 0.3, 1 / 3, 0.7, 1.0]
    trace = [rule.value]
    for progress, gap in zip(points, gaps, strict=True):
        trace.append(rule.step(progress=progress, train_accuracy=0.5 + gap, val_accuracy=0.5))
    path = tmp_path / "trace.csv"
    rule.to_csv(path)
    for schedule in (ReplaySchedule(path), ReplaySchedule(rule.history), parse_schedule(f"replay:{path}")()):
        assert [schedule.value, *(schedule.step(progress=p) for p in points)] == trace  # bit for bit
    irregular = ReplaySchedule(path)
    assert [irregular.step(progress=p) for p in (0.05, 0.2, 0.31, 0.9)] == [trace[i] for i in (0, 1, 2, 4)]
    assert path.read_text().splitlines()[0] == "progress,lam,train_accuracy,val_accuracy"


def test_bad_trace_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.csv"):
        ReplaySchedule(tmp_path / "nothing.csv")
    for text, message in [
        ("", "columns missing: lam, progress"),
        ("progress,lam\n0,x\n", "could not convert"),
        ("progress,lam\n0\n", "trace.csv"),
        ("progress,lam\n,0.1\n", "trace.csv"),
        ("progress,lam\n", "no rows"),
    ]:
        path = tmp_path / "trace.csv"
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            ReplaySchedule(path)


def test_history_takes_tensors_and_other_signals():
    schedule = Constant(0.1)
    schedule.step(progress=0.5, train_loss=torch.tensor(2.0), val_loss=None, grad_norm=3)
    assert schedule.history == [
        {"progress": 0.0, "lam": 0.1},
        {"progress": 0.5, "lam": 0.1, "train_loss": 2.0, "grad_norm": 3.0},
    ]
