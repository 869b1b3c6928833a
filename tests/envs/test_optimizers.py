"""Schedules on every optimizer of torch, in all its flavours: the groups, the step, and what its decay means."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from lambda_rl import Constant, LearnedSchedule, Steps, split_parameters
from lambda_rl.attach.architecture import group_meaning
from lambda_rl.attach.groups import DecayGroups

LAMS = [0.3, 0.02, 0.0, 0.1]  # each for two optimizer steps
LR = 0.05


@dataclass(frozen=True)
class Case:
    """An optimizer class and the options that it is made with."""

    kind: type[Optimizer]
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.kind.__name__ + ("-decoupled" if self.options.get("decoupled_weight_decay") else "")

    def make(self, params: Iterable[Any], **more: Any) -> Optimizer:
        return self.kind(params, **{"lr": LR, **self.options, **more})

    def takes(self, name: str) -> bool:
        return name in inspect.signature(self.kind).parameters


def with_decay() -> list[Case]:
    """Every optimizer of this torch that has ``weight_decay``, coupled and decoupled where that is an option."""
    found = []
    for kind in vars(torch.optim).values():
        if not (inspect.isclass(kind) and issubclass(kind, Optimizer) and Case(kind).takes("weight_decay")):
            continue
        # Without momentum both meanings are the same for SGD.
        options = {"momentum": 0.9} if Case(kind).takes("momentum") else {}
        if kind is torch.optim.Adadelta:
            options["lr"] = 1.0  # as is its default: its steps are small, too small for bfloat16
        found.append(Case(kind, options))
        if Case(kind).takes("decoupled_weight_decay"):
            found.append(Case(kind, {"decoupled_weight_decay": True}))
    return sorted(found, key=str)


CASES = with_decay()
OTHERS = [torch.optim.Rprop, torch.optim.LBFGS, torch.optim.SparseAdam]  # they have no decay


def test_none_is_left_out() -> None:
    names = {str(case) for case in CASES}
    since_long = "SGD Adam AdamW NAdam NAdam-decoupled RAdam Adagrad Adadelta Adamax RMSprop ASGD"
    assert set(since_long.split()) <= names
    assert not names & {kind.__name__ for kind in OTHERS}


# ---- the groups and the step


def parameters(dtype: torch.dtype = torch.float32, device: str = "cpu") -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (5, 4), (3, 2), (2, 2)]  # matrices all, for Muon takes nothing else
    made = [nn.Parameter(torch.randn(s, generator=generator).to(device, dtype)) for s in shapes]
    return [*made[:3], made[3].requires_grad_(False)]


def trained(
    case: Case, way: str, flags: dict[str, Any], *, tensor: bool, dtype: torch.dtype
) -> list[torch.Tensor]:
    """Parameters after eight steps: with decay, with half of it, without, frozen in the first group."""
    device = "cuda" if flags.get("capturable") else "cpu"
    first, second, third, frozen = parameters(dtype, device)
    groups: list[dict[str, Any]] = [
        {"params": [first, frozen], "weight_decay": 1e-3},
        {"params": [second], "weight_decay": 5e-4},
        {"params": [third], "weight_decay": 0.0},
    ]
    optimizer = case.make(groups, **flags)
    if tensor:
        for group in optimizer.param_groups[:2]:
            group["weight_decay"] = torch.tensor(group["weight_decay"], device=device)
    schedule = Steps(LAMS, optimizer, total_steps=8) if way == "schedule" else None
    generator = torch.Generator().manual_seed(1)
    for step in range(8):
        lam = LAMS[step // 2] if way != "nothing" else 0.0
        for group, share in zip(optimizer.param_groups, (1.0, 0.5, 0.0), strict=True):
            if schedule is None:
                tensors = tensor and share > 0
                group["weight_decay"] = torch.tensor(lam * share, device=device) if tensors else lam * share
            else:
                assert float(group["weight_decay"]) == pytest.approx(lam * share, rel=1e-7)
        for p in (first, second, third):
            p.grad = torch.randn(p.shape, generator=generator).to(p)
        optimizer.step()
        if schedule is not None:
            schedule.step()
    assert optimizer.param_groups[2]["weight_decay"] == 0
    return [p.detach().cpu() for p in (first, second, third, frozen)]


def flavours() -> list[Any]:
    """Each optimizer in each way that it can run, with decay as a number and as a tensor."""
    found = []
    for case in CASES:
        ways = {flag: {flag: True} for flag in ("foreach", "fused", "capturable") if case.takes(flag)}
        ways["loop"] = {"foreach": False} if case.takes("foreach") else {}
        for name, flags in ways.items():
            marks = pytest.mark.gpu if name == "capturable" else ()
            for tensor in (False, True):
                label = f"{case}-{name}{'-tensor' * tensor}"
                found.append(pytest.param(case, flags, tensor, marks=marks, id=label))
    return found


@pytest.mark.parametrize(("case", "flags", "tensor"), flavours())
def test_a_step_is_bit_for_bit_the_one_with_that_decay(
    case: Case, flags: dict[str, Any], tensor: bool
) -> None:
    if flags.get("capturable") and not torch.cuda.is_available():
        pytest.skip("torch takes capturable=True on an accelerator only (on a CPU: when it is compiled)")
    for dtype in (torch.float32, torch.bfloat16):
        mine, by_hand, none = (
            trained(case, way, flags, tensor=tensor, dtype=dtype)
            for way in ("schedule", "by hand", "nothing")
        )
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(mine, by_hand, strict=True))
        same = [torch.equal(ours, theirs) for ours, theirs in zip(mine, none, strict=True)]
        assert same == [False, False, True, True]
        assert torch.equal(mine[3], parameters(dtype)[3].detach())


@pytest.mark.parametrize("kind", OTHERS)
def test_optimizers_without_decay_are_refused(kind: Any) -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    with pytest.raises(ValueError, match="no parameter group has decay"):
        Constant(0.1, kind([weight]))


@pytest.mark.parametrize("kind", OTHERS)
def test_a_decay_that_the_optimizer_ignores_is_refused(kind: Any) -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = kind([{"params": [weight], "weight_decay": 1e-3}])
    with pytest.raises(ValueError, match=kind.__name__):
        Constant(0.1, optimizer)


# ---- what the decay means


def differences(make: Any) -> tuple[dict[str, float], str]:
    """How far five steps are from those with decay done by hand in either meaning, and what we say it means."""

    def run(meaning: str) -> tuple[torch.Tensor, str]:
        weights = parameters(torch.float64)[:3]
        optimizer = make([{"params": weights, "weight_decay": 1e-3}])
        (group,) = optimizer.param_groups
        said, lam, rate = group_meaning(optimizer, group), 0.3, float(group["lr"])
        group["weight_decay"] = lam if meaning == "its own" else 0.0
        generator = torch.Generator().manual_seed(1)
        for _ in range(5):
            before = [w.detach().clone() for w in weights]
            for w in weights:
                w.grad = torch.randn(w.shape, generator=generator, dtype=w.dtype)
                if meaning == "coupled":
                    w.grad += lam * w.detach()
            optimizer.step()
            if meaning == "decoupled":
                for w, old in zip(weights, before, strict=True):
                    w.data.sub_(old, alpha=rate * lam)
        return torch.cat([w.detach().flatten() for w in weights]), said

    own, said = run("its own")
    effect = (own - run("none")[0]).norm()
    assert effect > 0
    return {name: float((own - run(name)[0]).norm() / effect) for name in ("coupled", "decoupled")}, said


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_meaning_is_the_one_that_torch_gives_it(case: Case) -> None:
    far, said = differences(case.make)
    assert far[said] < 1e-12
    assert far["coupled" if said == "decoupled" else "decoupled"] > 1e-9


@pytest.mark.parametrize(
    "name",
    ["adamp", "lion", "nadamw", "adafactor", "sgdp", "rmsproptf",
     "adabelief", "rmsproptfw", "novogradw", "adafactorbv", "mars", "laprop", "adan", "muon", "madgradw"],
)  # fmt: skip
def test_the_meaning_of_timms_optimizers(name: str) -> None:
    timm = pytest.importorskip("timm.optim")
    if not hasattr(timm, "get_optimizer_class"):
        pytest.skip("this timm has no registry of optimizers")
    kind = timm.get_optimizer_class(name)
    far, said = differences(lambda groups: kind(groups, lr=LR))
    assert far[said] <= min(far.values()) + 1e-9


def test_several_optimizers_of_different_kinds() -> None:
    def made(kinds: tuple[str, str]) -> list[Optimizer]:
        return [
            getattr(torch.optim, k)([{"params": [p], "weight_decay": 1e-3}], lr=LR)
            for k, p in zip(kinds, parameters(), strict=False)
        ]

    facts = {"total_steps": 20, "num_train": 500, "val_size": 100, "num_classes": 4, "batch_size": 10}
    facts["policy"] = "cifar-mlp"  # its λ is coupled; that of the default fits all
    if hasattr(torch.optim, "Muon"):
        both = made(("Muon", "AdamW"))
        schedule = LearnedSchedule(both, lam_meaning="convert", **facts)
        assert [o.param_groups[0]["weight_decay"] for o in both] == [schedule.value] * 2
    with pytest.raises(ValueError, match="coupled and decoupled"):
        LearnedSchedule(made(("SGD", "AdamW")), lam_meaning="convert", **facts)


# ---- decay as a tensor, other precisions


def test_a_tensor_keeps_its_place_in_memory() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    optimizer = torch.optim.SGD([weight], lr=LR, weight_decay=torch.tensor(1e-3, dtype=torch.float64))
    (group,) = optimizer.param_groups
    place = group["weight_decay"].data_ptr()
    schedule = Steps(LAMS, optimizer, total_steps=4)
    for lam in LAMS[1:]:
        weight.grad = torch.zeros_like(weight)
        optimizer.step()
        assert schedule.step() == lam
        assert group["weight_decay"].data_ptr() == place
        assert group["weight_decay"].item() == lam
    # A checkpoint of torch brings a new tensor: that one is filled from then on.
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    schedule.step(progress=0.0)
    assert optimizer.param_groups[0]["weight_decay"].item() == LAMS[0]


@pytest.mark.parametrize("share", [0.1, 0.0])
def test_groups_that_share_a_tensor_have_decays_of_their_own(share: float) -> None:
    first, second = parameters()[:2]
    groups = [{"params": [first], "wd_mult": 1.0}, {"params": [second], "wd_mult": share}]
    optimizer = torch.optim.SGD(groups, lr=LR, weight_decay=torch.tensor(1e-3))
    Constant(0.5, optimizer)
    decays = [float(group["weight_decay"]) for group in optimizer.param_groups]
    assert decays == pytest.approx([0.5, 0.5 * share if share else 1e-3])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_measured_in_single(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4)).to(dtype)
    optimizer = torch.optim.SGD(split_parameters(model, 1e-3), lr=LR)
    weights = [layer.weight.detach().double() for layer in (model[0], model[2])]
    exact = math.sqrt(sum(float(w.square().sum()) for w in weights))
    norm, penalty = DecayGroups(optimizer).norms()
    assert norm == pytest.approx(exact, rel=1e-6)
    assert penalty == pytest.approx(0.5 * exact**2, rel=1e-6)


def test_a_learned_schedule_on_a_bfloat16_network() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).bfloat16()
    optimizer = torch.optim.SGD(split_parameters(model, 1e-3), lr=LR, momentum=0.9)
    schedule = LearnedSchedule(
        optimizer, policy="cifar-mlp", total_steps=30, num_train=64, val_size=64, num_classes=4, batch_size=64
    )
    x, y = torch.randn(64, 8).bfloat16(), torch.randint(4, (64,))
    for _ in range(30):
        logits = model(x)
        loss = nn.functional.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        hits = (logits.argmax(1) == y).to(torch.bfloat16).mean()
        schedule.step(train_loss=loss, val_loss=loss, train_accuracy=hits, val_accuracy=hits)
    assert len({row["lam"] for row in schedule.history}) > 5
    assert optimizer.param_groups[0]["weight_decay"] == schedule.value
    assert all(bool(p.isfinite().all()) for p in model.parameters())


def test_a_tensor_that_cannot_be_filled_is_refused() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    for decay in (torch.tensor(1), torch.tensor(0.1, requires_grad=True)):
        optimizer = torch.optim.SGD([{"params": [weight], "weight_decay": decay}], lr=LR)
        with pytest.raises(ValueError, match="must be floating point and not require grad"):
            Constant(0.5, optimizer)
