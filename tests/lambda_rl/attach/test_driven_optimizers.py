"""Optimizers whose steps something else drives: a compiler, a gradient scaler, accelerate."""

from __future__ import annotations

import inspect
import math
import shutil
import warnings
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import nn

from lambda_rl import Steps, split_parameters

LR = 0.05


# ---- torch.compile

THROUGH_ZERO = [0.3, 0.2, 0.15, 0.0, 0.1, 0.05, 0.4, 0.0, 0.01, 0.3, 0.25, 0.2]


def compiled_run(
    kind: Any, lams: list[float], *, tensor: bool, backend: str | None, **flags: Any
) -> tuple[list[torch.Tensor], list[int]]:
    """A step for each λ: the parameters, and how many frames were compiled by the end of each step."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    torch.manual_seed(0)
    model = nn.Linear(4, 2)
    optimizer = kind(split_parameters(model, 1e-3), lr=LR, **flags)
    if tensor:
        for group in optimizer.param_groups:
            group["weight_decay"] = torch.tensor(group["weight_decay"])
    schedule = Steps(lams, optimizer, total_steps=len(lams))
    frames = []
    step = optimizer.step if backend is None else torch.compile(optimizer.step, backend=backend)
    for _ in lams:
        for p in model.parameters():
            p.grad = torch.full_like(p, 0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about what it does not trace
            step()
        schedule.step()
        frames.append(torch._dynamo.utils.counters["frames"]["total"])
    assert schedule.history[-1]["progress"] == 1.0  # the hook counts compiled steps too
    return [p.detach().clone() for p in model.parameters()], frames


needs_dynamo = pytest.mark.skipif(
    not torch._dynamo.is_dynamo_supported(), reason="torch cannot compile under this Python"
)
KINDS = [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop]


@needs_dynamo
@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_tensor_does_not_compile_again(kind: Any, foreach: bool) -> None:
    """Torch asks ``if weight_decay != 0``, so the decay itself runs outside of the compiled graph."""
    compiled, frames = compiled_run(kind, THROUGH_ZERO, tensor=True, backend="aot_eager", foreach=foreach)
    plain, _ = compiled_run(kind, THROUGH_ZERO, tensor=True, backend=None, foreach=foreach)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)
    assert len(set(frames)) == 1
    assert frames[0] > 0


@needs_dynamo
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_a_number_is_followed_too(kind: Any) -> None:
    """It may compile anew for each λ until torch has had enough of it; what it computes stays right."""
    config: Any = torch._dynamo.config
    limit = "recompile_limit" if hasattr(config, "recompile_limit") else "cache_size_limit"
    lams = [0.3 * 0.8**i for i in range(8)]
    with config.patch(**{limit: 4}):  # some libraries raise it when they are imported
        compiled, _ = compiled_run(kind, lams, tensor=False, backend="aot_eager", foreach=True)
    plain, _ = compiled_run(kind, lams, tensor=False, backend=None, foreach=True)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)


@needs_dynamo
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")
def test_compiled_to_machine_code() -> None:
    compiled, frames = compiled_run(torch.optim.AdamW, THROUGH_ZERO, tensor=True, backend="inductor")
    plain, _ = compiled_run(torch.optim.AdamW, THROUGH_ZERO, tensor=True, backend=None)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)
    assert len(set(frames)) == 1


# ---- GradScaler, accelerate


@pytest.mark.parametrize("unscale", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.Adagrad])
@pytest.mark.parametrize(
    "flavour",
    ["foreach", "fused"],
)
def test_steps_that_a_grad_scaler_skips_do_not_count(kind: Any, flavour: str, unscale: bool) -> None:
    """Fused optimizers are called for a skipped step too: their kernel does the skipping."""
    if flavour not in inspect.signature(kind).parameters:
        pytest.skip(f"{kind.__name__} has no {flavour}=")
    weight = nn.Parameter(torch.ones(3, 2))
    optimizer = kind([weight], lr=LR, weight_decay=1e-3, **{flavour: True})
    schedule = Steps([1.0, 0.5, 0.25, 0.125], optimizer, total_steps=4)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    seen = []
    for bad in (False, True, True, False, False):
        before = weight.detach().clone()
        optimizer.zero_grad()
        scaler.scale((weight * (math.inf if bad else 1.0)).sum()).backward()
        if unscale:  # as before clipping the gradients
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(weight, before) == bad
        seen.append(schedule.step())
    assert seen == [0.5, 0.5, 0.5, 0.25, 0.125]


def test_an_optimizer_that_accelerate_prepared() -> None:
    accelerate = pytest.importorskip("accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    try:
        model = nn.Linear(4, 2)
        plain = torch.optim.AdamW(split_parameters(model, 1e-3), lr=LR)
        prepared = accelerator.prepare(plain)
        schedule = Steps([1.0, 0.5], prepared, total_steps=2)
        assert schedule.groups is not None
        assert schedule.groups.meanings() == {"decoupled"}
        accelerator.backward(model(torch.ones(1, 4)).sum())
        prepared.step()
        assert schedule.step() == 0.5
        assert [group["weight_decay"] for group in plain.param_groups] == [0.5, 0.0]
    finally:
        accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
