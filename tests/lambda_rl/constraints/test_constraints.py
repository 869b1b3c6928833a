"""Constraints reach the solutions that are known, go on where they were, and refuse what cannot be."""

from __future__ import annotations

import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from lambda_rl.constraints import Constraints, shortfall
from lambda_rl.constraints.multiplier import Ascent, Multiplier


def solve(
    constraints: Constraints, target: Tensor, violation: Any, steps: int = 400, curvature: float = 1.0
) -> tuple[Tensor, list[float]]:
    """Minimises ½·curvature·‖w‖² - target·w; the weights at the end, and their first entry over the run."""
    weights = nn.Parameter(torch.zeros_like(target))
    optimizer = torch.optim.SGD([weights], lr=0.1)
    trace = []
    for _ in range(steps):
        g = violation(weights)
        constraints.step(g=g)
        loss = curvature / 2 * weights.square().sum() - target @ weights + constraints.penalty(g=g)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        trace.append(weights[0].item())
    return weights.detach(), trace


@pytest.mark.parametrize(
    "options", [{}, {"kp": 5.0}, {"augmented": 1.0}, {"momentum": 0.5}, {"momentum": -0.3}]
)
@pytest.mark.parametrize("active", [True, False])
def test_a_linear_constraint_on_a_quadratic(options: dict[str, float], active: bool) -> None:
    """w = a - λb with λ = max(0, b·a - c), where ‖b‖ = 1."""
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, 8, generator=generator, dtype=torch.float64)
    b /= b.norm()
    c = b @ a - 1.5 if active else b @ a + 1.5
    constraints = Constraints("g", lr=0.1, **options)
    weights, _ = solve(constraints, a, lambda w: b @ w - c, 600)
    lam = max(0.0, float(b @ a - c))
    assert (lam > 0) is active
    assert constraints.multipliers["g"].item() == pytest.approx(lam, abs=1e-6)
    torch.testing.assert_close(weights, a - lam * b, atol=1e-6, rtol=0)
    if not active:
        assert all(row["multiplier/g"] == 0 for row in constraints.history[100:])


def test_each_entry_has_a_multiplier_of_its_own() -> None:
    """w <= u, entry by entry: λ = max(0, a - u)."""
    a, u = torch.tensor([[1.0, 2.0, -1.0, 0.5], [0.5, 3.0, -2.0, 0.5]], dtype=torch.float64)
    constraints = Constraints({"g": (4,)}, lr=0.1)
    weights, _ = solve(constraints, a, lambda w: w - u, 1500)
    torch.testing.assert_close(weights, torch.minimum(a, u), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        constraints.multipliers["g"],
        torch.tensor([0.5, 0.0, 1.0, 0.0], dtype=torch.float64),
        atol=1e-4,
        rtol=0,
    )
    last = constraints.history[-1]
    assert last["multiplier/g"] == pytest.approx(1.0, abs=1e-4)  # the largest entry


@pytest.mark.parametrize("options", [{"kp": 10.0}, {"augmented": 1.0}])
def test_pi_and_the_augmented_lagrangian_converge_where_plain_ascent_swings(
    options: dict[str, float],
) -> None:
    pull = torch.ones(1, dtype=torch.float64)
    tails = {}
    for name, chosen in (("plain", {}), ("damped", options)):
        constraints = Constraints("g", lr=0.1, **chosen)
        _, trace = solve(constraints, pull, lambda w: w[0] - 0.5, 600, curvature=0.01)
        tails[name] = trace[-300:]
        if name == "damped":
            assert constraints.multipliers["g"].item() == pytest.approx(1 - 0.01 * 0.5, abs=1e-6)
    assert max(tails["plain"]) - min(tails["plain"]) > 0.5
    assert max(abs(value - 0.5) for value in tails["damped"]) < 1e-6


def test_the_augmented_term_is_that_of_an_inequality() -> None:
    """λg + c/2 g² where violated, no pull where far inside: ([λ + cg]₊² - λ²) / 2c."""
    constraints = Constraints("g", lr=1.0, augmented=2.0)
    constraints.step(g=0.5)
    for value, term, slope in (
        (0.3, 0.5 * 0.3 + 0.3**2, 0.5 + 2 * 0.3),
        (-0.25, -0.0625, 0.0),
        (-3.0, -0.0625, 0.0),
    ):
        g = torch.tensor(value, requires_grad=True)
        penalty = constraints.penalty(g=g)
        penalty.backward()
        assert penalty.item() == pytest.approx(term)
        assert g.grad is not None
        assert g.grad.item() == pytest.approx(slope)


def test_the_controller_is_that_of_its_equations() -> None:
    """Integral and proportional part by hand, and no spurious λ under noise where the constraint holds."""
    one = Multiplier((), Ascent(lr=0.1, momentum=0.0, kp=4.0, smoothing=0.5, max_multiplier=10.0))
    integral = smoothed = 0.0
    for g in (1.0, 0.5, -0.2, 0.7):
        one.step(torch.tensor(g, dtype=torch.float64))
        integral, smoothed = integral + 0.1 * g, 0.5 * smoothed + 0.5 * g
        assert one.value.item() == pytest.approx(integral + 0.1 * 4 * smoothed)
    idle = Multiplier((), Ascent(lr=0.1, momentum=0.0, kp=10.0, smoothing=0.9, max_multiplier=10.0))
    noise = torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    values = []
    for g in -1.0 + 0.5 * noise:
        idle.step(g)
        values.append(idle.value.item())
    assert max(values[20:]) == 0


def test_momentum_is_not_wound_up_at_the_bound() -> None:
    one = Multiplier((), Ascent(lr=0.1, momentum=0.9, kp=0.0, smoothing=0.0, max_multiplier=10.0))
    for _ in range(100):
        one.step(torch.tensor(-1.0, dtype=torch.float64))
    one.step(torch.tensor(1.0, dtype=torch.float64))
    assert one.value.item() == pytest.approx(0.1)


def regression(constraints: Constraints, steps: range, state: dict[str, Any]) -> Tensor:
    """A network whose output must not fall below 3, on minibatches; goes on from ``state`` if that is not empty."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(256, 1, generator=generator) * 2 - 1
    y = 3 + torch.sin(3 * x)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        constraints.load_state_dict(json.loads(state["constraints"]))
    for step in steps:
        index = torch.randint(256, (64,), generator=torch.Generator().manual_seed(step))
        output = model(x[index])
        g = shortfall(output, 3.0).mean() - 0.001
        constraints.step(floor=g)
        loss = nn.functional.mse_loss(output, y[index]) + constraints.penalty(floor=g)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    state |= {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    state["constraints"] = json.dumps(constraints.state_dict())
    with torch.no_grad():
        return model(x)


def test_a_network_keeps_to_its_floor_and_resumes_bit_for_bit() -> None:
    def make() -> Constraints:
        return Constraints("floor", lr=1.0, kp=10.0, smoothing=0.5, momentum=0.1)

    whole = make()
    output = regression(whole, range(400), {})
    assert shortfall(output, 3.0).mean() < 0.01
    assert output.min() > 2.9
    free = regression(Constraints("floor", lr=1e-9), range(400), {})
    assert free.min() < 2.3
    state: dict[str, Any] = {}
    regression(make(), range(200), state)
    second = make()
    resumed = regression(second, range(200, 400), state)
    assert torch.equal(resumed, output)
    assert second.history == whole.history
    assert second.steps == 400
    assert torch.equal(second.multipliers["floor"], whole.multipliers["floor"])


def test_a_constraint_that_cannot_be_met_is_told_once_and_bounded() -> None:
    constraints = Constraints("g", lr=1.0, max_multiplier=50.0)
    weights = nn.Parameter(torch.tensor([2.0]))
    optimizer = torch.optim.SGD([weights], lr=0.001)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for _ in range(200):
            g = weights.square().sum() + 1  # never <= 0
            constraints.step(g=g)
            optimizer.zero_grad()
            (constraints.penalty(g=g) - weights.sum()).backward()
            optimizer.step()
    (warning,) = told
    said = str(warning.message)
    assert "the multiplier of 'g' has grown to max_multiplier=50 in " in said
    assert "the violation is still " in said
    assert warning.filename == __file__
    assert constraints.multipliers["g"].item() == 50.0
    assert max(row["multiplier/g"] for row in constraints.history) == 50.0
    again = Constraints("g", lr=1.0, max_multiplier=50.0)
    again.load_state_dict(constraints.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again.step(g=1.0)


def test_history_is_for_plotting() -> None:
    constraints = Constraints(["a", "b"], lr=0.5)
    constraints.step(a=1.0, b=torch.tensor([-1.0]))
    constraints.step(b=2)
    assert constraints.history == [
        {"step": 1, "violation/a": 1.0, "violation/b": -1.0, "multiplier/a": 0.5, "multiplier/b": 0.0},
        {"step": 2, "violation/b": 2.0, "multiplier/a": 0.5, "multiplier/b": 1.0},
    ]
    constraints.record_every = 10
    for _ in range(18):
        constraints.step(a=0.0)
    assert [row["step"] for row in constraints.history] == [1, 2, 10, 20]
    g = torch.tensor(1.0, requires_grad=True)
    assert constraints.penalty(a=g).item() == 0.5
    assert constraints.penalty(a=g, b=2 * g).item() == 2.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"constraints": []}, "constraints must be a name, names, or shapes by name, got []"),
        ({"constraints": ""}, "constraints must be a name"),
        ({"constraints": 3}, "constraints must be a name"),
        ({"constraints": ["a", "b", "a"]}, "a constraint is named twice: a, b, a"),
        ({"constraints": {"a": 3}}, "a shape must be whole numbers such as (10,)"),
        ({"constraints": {"a": (0,)}}, "a shape must be whole numbers such as (10,)"),
        ({"lr": 0.0}, "lr must be finite and above 0, got 0.0"),
        ({"lr": math.nan}, "lr must be finite"),
        ({"kp": -1.0}, "kp must be finite and 0 or more"),
        ({"momentum": 1.0}, "momentum must be above -1 and below 1, got 1.0"),
        ({"smoothing": 1.0}, "smoothing must be 0 or more and below 1, got 1.0"),
        ({"augmented": math.inf}, "augmented must be finite"),
        ({"max_multiplier": 0}, "max_multiplier must be finite and above 0"),
        ({"distributed": True}, 'distributed must be "auto" or False'),
    ],
)
def test_arguments_out_of_range(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        Constraints(**{"constraints": "a", "lr": 0.1, **arguments})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no violation was given; there are the constraints a, b"),
        ({"c": 1.0}, "unknown constraint c; there are the constraints a, b"),
        ({"a": torch.zeros(32)}, "the violation of 'a' must have the shape (), got (32,): take a mean"),
        ({"b": torch.zeros(4)}, "the violation of 'b' must have the shape (3,), got (4,)"),
        ({"b": 1.0}, "the violation of 'b' must have the shape (3,), got ()"),
        ({"a": math.nan}, "the violation of 'a' must be finite, got nan"),
        ({"b": torch.tensor([0.0, math.inf, 0.0])}, "the violation of 'b' must be finite"),
        ({"a": "much"}, "the violation of 'a' must be a tensor or a number, got 'much'"),
        ({"a": None}, "the violation of 'a' must be a tensor or a number, got None"),
    ],
)
def test_violations_that_cannot_be(given: dict[str, Any], message: str) -> None:
    constraints = Constraints({"a": (), "b": (3,)}, lr=0.1)
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        constraints.step(**{"b": torch.ones(3), **given} if given else {})
    assert constraints.steps == 0
    assert not constraints.multipliers["b"].any()


def test_a_penalty_that_moves_nothing_is_refused() -> None:
    constraints = Constraints("recall", lr=0.1)
    with pytest.raises(
        ValueError, match="the violation of 'recall' has no gradient, so its penalty would move no"
    ):
        constraints.penalty(recall=torch.tensor(0.3))
    with torch.no_grad():  # where a loss is only looked at, that is no error
        assert constraints.penalty(recall=torch.tensor(0.3)).item() == 0
    with pytest.raises(ValueError, match="unknown constraint recal; there are the constraints recall"):
        constraints.penalty(recal=torch.tensor(0.3, requires_grad=True))
    half = torch.tensor([0.5], dtype=torch.bfloat16, requires_grad=True)
    assert constraints.penalty(recall=half).dtype == torch.bfloat16


def test_states_that_do_not_fit_change_nothing() -> None:
    constraints = Constraints({"a": (2,)}, lr=0.1)
    constraints.step(a=torch.ones(2))
    before = constraints.state_dict()

    def changed(**parts: Any) -> dict[str, Any]:
        return {**before, **parts}

    odd = {**before["multipliers"]["a"], "value": [1.0, math.nan]}
    outside = {**before["multipliers"]["a"], "value": [-1.0, 0.0]}
    for state, message in (
        ({}, "not the state of constraints: it must come from Constraints.state_dict"),
        (changed(steps=-1), "not the state of constraints"),
        (
            Constraints("a", lr=0.1).state_dict(),
            r"the state is of constraints with shapes \{'a': \[\]\} and not",
        ),
        (
            Constraints({"a": (2,)}, lr=0.2).state_dict(),
            "the state is of constraints with lr 0.2 and not 0.1",
        ),
        (changed(multipliers={}), "the state of constraint 'a': the state has no numbers 'value'"),
        (
            changed(multipliers={"a": odd}),
            r"the state of constraint 'a': 'value' must be finite and of shape \(2,\)",
        ),
        (
            changed(multipliers={"a": outside}),
            "the state of constraint 'a': 'value' must lie between 0 and 1000",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            constraints.load_state_dict(state)
        assert constraints.state_dict() == before


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    constraints = Constraints({"a": (), "b": (2,)}, lr=0.5)
    constraints.step(a=1.0 + rank, b=torch.tensor([1.0, 2.0]) * rank)
    constraints.step(**({"a": 1.0} if rank else {"b": torch.ones(2)}))  # each has measured another
    said = ""
    try:
        constraints.step(a=math.nan if rank else 1.0)
    except ValueError as error:
        said = str(error)
    dist.destroy_process_group()
    result = {name: value.tolist() for name, value in constraints.multipliers.items()}
    Path(folder, f"rank{rank}.json").write_text(json.dumps([result, said]), encoding="utf-8")


def test_ranks_have_the_same_multipliers(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(worker, (str(tmp_path),), nprocs=2)
    first, second = (json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert first == [{"a": 1.25, "b": [0.75, 1.0]}, "the violation of 'a' must be finite, got nan"]
