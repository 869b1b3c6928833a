"""Open-loop schedules, the gap rule, replay, and what all schedules share."""

import json
import math
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lambda_rl import (
    Constant,
    Cosine,
    GapRule,
    PullDown,
    PullUp,
    ReplaySchedule,
    Schedule,
    Steps,
    parse_schedule,
    split_parameters,
)

ARBITRARY = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True, width=32))
PROGRESS = st.floats(0, 3)


def optimizer_for(kind=torch.optim.SGD, decays=(1e-4,), **options):
    """An optimizer with one group per decay, each of one 3 × 2 weight."""
    groups = [{"params": [nn.Parameter(torch.ones(3, 2))], "weight_decay": d} for d in decays]
    return kind(groups, lr=0.1, **options)


def decays(optimizer):
    return [float(group["weight_decay"]) for group in optimizer.param_groups]


def update(optimizer):
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.full_like(p, 0.01)
    optimizer.step()


# ---- open loop


def test_values_over_a_run():
    def trace(schedule, k=4):
        return [schedule.value, *(schedule.step(progress=i / k) for i in range(1, k))]

    assert trace(Constant(0.0)) == [0.0] * 4
    assert trace(Steps([3, 2, 1, 0])) == [3, 2, 1, 0]
    assert trace(Steps([3, 2, 1, 0]), 8) == [3, 3, 2, 2, 1, 1, 0, 0]
    assert trace(PullDown(1.0, 1e-4)) == pytest.approx([1.0, 1e-1, 1e-2, 1e-3])
    assert trace(PullUp(1e-4, 1.0)) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    assert trace(PullDown(4.0, 0.0, "linear")) == pytest.approx([4, 3, 2, 1])
    assert trace(PullUp(0.0, 4.0, "linear")) == pytest.approx([0, 1, 2, 3])
    assert trace(Cosine(1.0, 0.0), 2) == pytest.approx([1.0, 0.5])


@pytest.mark.parametrize("n", [3, 7, 10, 15, 20, 25])
def test_steps_has_equal_shares_despite_rounding(n):
    schedule = Steps(list(range(n)))
    assert [schedule.step(progress=i / n) for i in range(n)] == list(range(n))


def test_ends_are_exact_and_progress_is_clipped():
    for schedule, start, end in [
        (PullDown(0.3, 0.003), 0.3, 0.003),
        (PullUp(0.003, 0.3, "linear"), 0.003, 0.3),
        (Cosine(0.1, 0.7), 0.1, 0.7),
    ]:
        assert schedule.value == start
        assert schedule.step(progress=1.0) == pytest.approx(end, rel=1e-12)
        assert schedule.step(progress=7.0) == pytest.approx(end, rel=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1), "0 or more"),
        (lambda: Constant(math.nan), "finite"),
        (lambda: Steps([]), "at least one"),
        (lambda: Steps([1, math.inf]), "finite"),
        (lambda: PullDown(1e-3, 1e-1), "PullUp rises"),
        (lambda: PullUp(1e-1, 1e-3), "PullDown falls"),
        (lambda: PullDown(1.0, 0.0), "above 0"),
        (lambda: PullDown(1.0, 0.1, "square"), "allowed: exponential, linear"),
        (lambda: Constant(1.0, lam_range=(1.0, 0.1)), "range reversed"),
        (lambda: Constant(1.0, total_steps=0), "total_steps"),
        (lambda: GapRule(initial=0), "above 0"),
        (lambda: GapRule(factor=1.0), "above 1"),
        (lambda: GapRule(threshold=0.01, low_threshold=0.02), "low_threshold"),
        (lambda: GapRule(lam_range=(0.0, 1.0)), "smallest λ"),
        (lambda: GapRule(lam_range=(1.0, 0.1)), "range reversed"),
        (lambda: ReplaySchedule([]), "no rows"),
        (lambda: ReplaySchedule([{"progress": None, "lam": 1.0}]), "finite progress"),
        (lambda: ReplaySchedule([(0.0, math.nan)]), "finite λ"),
        (lambda: PullUp(0.1, 1.0).step(), "progress is not known"),
        (lambda: PullUp(0.1, 1.0).step(step=3), "progress is not known"),
        (lambda: PullUp(0.1, 1.0).step(progress=math.nan), "finite"),
        (lambda: PullUp(0.1, 1.0).step(progress=-0.1), "0 or more"),
        (lambda: Constant(1.0).step(train_loss="much"), "train_loss must be one number"),
        (lambda: Constant(1.0).step(train_loss=torch.zeros(2)), "train_loss must be one number"),
    ],
)
def test_clear_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# ---- gap rule


def test_gap_rule_follows_the_gap():
    rule = GapRule(initial=0.01, factor=2.0, threshold=0.05, low_threshold=0.01)
    assert rule.step(train_accuracy=0.60, val_accuracy=0.50) == 0.02
    assert rule.step(train_accuracy=0.53, val_accuracy=0.50) == 0.02
    assert rule.step(train_accuracy=0.505, val_accuracy=0.50) == 0.01
    assert rule.step(train_accuracy=0.40, val_accuracy=0.50) == 0.005
    assert rule.history[-1] == {"progress": None, "lam": 0.005, "train_accuracy": 0.40, "val_accuracy": 0.50}


def test_gap_rule_holds_without_accuracies_and_warns_once():
    rule = GapRule(initial=0.01)
    with pytest.warns(RuntimeWarning, match="GapRule: .* λ is held"):
        assert rule.step(train_accuracy=math.nan, val_accuracy=0.5) == 0.01
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rule.step(train_accuracy=math.inf, val_accuracy=0.5) == 0.01
        assert rule.step() == 0.01


def test_gap_rule_stays_in_range():
    rule = GapRule(initial=0.01, lam_range=(1e-3, 1e-1))
    for _ in range(20):
        rule.step(train_accuracy=1.0, val_accuracy=0.0)
    assert rule.value == 1e-1
    for _ in range(20):
        rule.step(train_accuracy=0.0, val_accuracy=0.0)
    assert rule.value == 1e-3


SPECS = [
    "constant:0.01",
    "constant:0",
    "steps:3,2,1,0",
    "pull-down:0.3,0.003",
    "pull-down:0.3,0,linear",
    "pull-up:0.003,0.3",
    "pull-up:0.003,0.3,linear",
    "cosine:0.1,0",
    "gap:initial=0.01,factor=2,threshold=0.05",
    "gap",
]


@pytest.mark.filterwarnings("ignore:.*λ is held")
@settings(max_examples=25, deadline=None)
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


# ---- optimizers


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


# ---- state, history, replay


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


# ---- parsing


def test_parse_gives_what_is_asked_for():
    assert repr(parse_schedule("pull-down:0.3,0.003")()) == repr(PullDown(0.3, 0.003))
    assert repr(parse_schedule(" pull-up: 0.1 , 1, linear")()) == repr(PullUp(0.1, 1.0, "linear"))
    assert repr(parse_schedule("cosine:1,0")()) == repr(Cosine(1.0, 0.0))
    assert repr(parse_schedule("steps:3,2,1,0")()) == repr(Steps([3, 2, 1, 0]))
    gap = parse_schedule("gap:initial=0.1,threshold=0.2")(lam_range=(1e-2, 1.0), facts=None, total_steps=5)
    assert isinstance(gap, GapRule)
    assert (gap.value, gap.threshold, gap.lam_range) == (0.1, 0.2, (1e-2, 1.0))
    factory = parse_schedule("constant:0.2")
    assert factory() is not factory()
    optimizer = optimizer_for()
    schedule: Schedule = factory(optimizer, total_steps=10, num_train=3)
    assert decays(optimizer) == [0.2]
    assert schedule.total_steps == 10


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("magic:1", r"unknown schedule 'magic'; allowed: constant:0\.01, steps:.*gap.*learned\[:FILE"),
        ("", "unknown schedule ''"),
        ("constant", r"no arguments; expected constant:0\.01"),
        ("constant:", "no arguments"),
        ("constant:a", r"'a' is not a number; expected constant:0\.01"),
        ("constant:nan", "not a finite number"),
        ("constant:1,2", "2 values where 1 belong"),
        ("constant:-1", "0 or more"),
        ("pull-down:1", "1 values where 2 belong"),
        ("pull-down:0.003,0.3", "PullUp rises"),
        ("pull-down:0.3,0.003,square", "unknown shape 'square'"),
        ("pull-up:1,2,linear,3", "4 values"),
        ("cosine:1,0,linear", "3 values where 2 belong"),
        ("gap:", "no arguments"),
        ("gap:speed=3", "unknown option 'speed=3'; allowed: initial, factor, threshold, low_threshold"),
        ("gap:0.01", "unknown option '0.01'"),
        ("gap:factor=2,factor=3", "twice"),
        ("gap:factor=0.5", "above 1"),
        ("learned:missing.safetensors", r"missing\.safetensors: no such file"),
    ],
)
def test_parse_errors(spec, message):
    with pytest.raises(ValueError, match=message):
        parse_schedule(spec)
