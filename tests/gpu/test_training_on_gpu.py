"""Inner runs on a GPU: the same numbers as on a CPU, captured or not, and nobody waits for the GPU in between."""

from __future__ import annotations

import functools
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_envs import BASE, actions, same, tiny_data, trace
from torch import Tensor

from lambda_rl.envs.networks.lanes import side_by_side
from lambda_rl.envs.optimizers import OPTIMIZERS
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training import begin
from lambda_rl.envs.training.interval import cuda_graph
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import Trainer
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("error:the interval is not captured"),
]

DATA = tiny_data(2000)
TASKS = {
    "mlp": replace(BASE, steps=16),
    "mlp-deep": replace(BASE, steps=16, network_options={"depth": 4, "norm": "layer", "activation": "gelu"}),
    "mlp-norm": replace(BASE, steps=16, network_options={"norm": "batch"}),
    "cnn3": replace(BASE, steps=16, network="cnn3"),
    "resnet9": replace(
        BASE, steps=16, network="resnet9", width=4, resolution=32, augment=True, learning_rate=0.003
    ),
}
LOG_LAM = np.array([-1.0, -2.0, -np.inf])


def rows(task: Task, config: TrainerConfig) -> np.ndarray:
    """All that is measured over an episode of three runs, one of which is replaced; ``[decisions, 8, 3]``."""
    trainer = Trainer(DATA, "agent", config, outer_size=50)
    runs = [trainer.start(task.with_seed(seed)) for seed in range(3)]
    found = []
    for decision in range(task.decisions):
        if decision == 2:
            runs[1] = trainer.start(task.with_seed(9))
        measured = trainer.advance(runs, LOG_LAM - 0.3 * decision)
        found.append([values for name, values in vars(measured).items() if name != "finite"])
        assert measured.finite.all()
    return np.array(found)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.names())
@pytest.mark.parametrize("name", list(TASKS))
def test_a_gpu_gives_what_a_cpu_gives(name: str, optimizer: str) -> None:
    """In double precision, from the same seeds."""
    task = replace(TASKS[name], optimizer=optimizer, learning_rate=0.003)
    here, there = (rows(task, TrainerConfig(device, "fp64")) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(there, here, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", list(TASKS))
def test_captured_intervals_give_the_same(name: str, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """λ changes from interval to interval and a slot gets another run; a graph reads what is there then.

    Some of cuDNN's kernels add in any order, and what that changes grows from step to step; here they may not.
    """
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    results = [
        rows(TASKS[name], TrainerConfig("cuda", precision, capture=capture)) for capture in (False, True)
    ]
    np.testing.assert_allclose(*results, rtol=2e-2 if precision == "bf16" else 1e-3)


@pytest.mark.parametrize("name", ["mlp", "cnn3"])
def test_compiled_steps_give_the_same(name: str) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "the training step is not compiled")
        results = [
            rows(TASKS[name], TrainerConfig("cuda", "fp32", compile=compiled)) for compiled in (False, True)
        ]
    np.testing.assert_allclose(*results, rtol=1e-3)


def environment(task: Task, slots: int, device: str = "cuda", **options: object) -> CifarLambdaVectorEnv:
    suite = Suite("gpu", "agent", TaskList((task,)))
    return CifarLambdaVectorEnv(
        slots, suite=suite, data=DATA, reward=RewardConfig(outer_size=50), device=device, **options
    )


@pytest.mark.parametrize("name", ["mlp", "cnn3"])
def test_the_same_seed_gives_the_same_numbers(name: str) -> None:
    moves = actions(6, 4)
    assert same(*(trace(environment(TASKS[name], 4, precision="fp32"), moves) for _ in range(2)))


def copies(call: object) -> dict[str, int]:
    """How often the processor and the GPU exchanged data in a call, by direction, as the profiler tells."""
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        call()  # type: ignore[operator]
        torch.cuda.synchronize()
    names = [event.name for event in profile.events() if event.device_type == torch.autograd.DeviceType.CUDA]
    return {way: sum(f"Memcpy {way}" in name for name in names) for way in ("DtoH", "HtoD")}


@pytest.mark.parametrize("name", ["mlp", "resnet9"])
def test_one_transfer_from_the_gpu_a_decision(name: str) -> None:
    """However many slots there are; one more where episodes end would be no transfer of a decision."""
    counted = []
    for slots in (2, 16):
        env = environment(TASKS[name], slots)
        env.reset(seed=0)
        env.step(np.zeros((slots, 1), np.float32))  # captures
        counted.append(copies(lambda env=env, slots=slots: env.step(np.zeros((slots, 1), np.float32))))
    assert [count["DtoH"] for count in counted] == [1, 1]
    assert counted[0]["HtoD"] == counted[1]["HtoD"]


def test_a_replayed_interval_waits_for_nothing() -> None:
    trainer = Trainer(DATA, "agent", TrainerConfig("cuda"), outer_size=50)
    runs = [trainer.start(TASKS["mlp"].with_seed(seed)) for seed in range(3)]
    trainer.advance(runs, LOG_LAM)
    (stack,) = trainer._stacks.values()
    (interval,) = stack.intervals.values()
    torch.cuda.set_sync_debug_mode("error")
    try:
        interval._call()  # type: ignore[attr-defined]
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_many_large_networks_are_evaluated_in_parts_that_fit() -> None:
    """The end of an episode takes all images of ``outer-val``: at once, 256 networks would want tens of GB."""
    task = replace(TASKS["cnn3"], width=16, steps=4, decisions=2)
    torch.cuda.reset_peak_memory_stats()
    env = environment(task, 256, precision="fp32")
    trace(env, actions(2, 256))
    env.close()
    assert torch.cuda.max_memory_allocated() < 8e9


def test_lanes_give_what_one_stream_gives() -> None:
    """Values and gradients, whether they are captured or not."""
    weights = torch.randn(5, 64, 64, device="cuda", dtype=torch.float64)
    x = torch.randn(5, 32, 64, device="cuda", dtype=torch.float64)

    def gradient(lanes: int) -> Tensor:
        leaf = weights.detach().requires_grad_()
        calls = [
            functools.partial(lambda a, w: torch.tanh(a @ w), a, w) for a, w in zip(x, leaf, strict=True)
        ]
        return torch.autograd.grad(torch.stack(side_by_side(calls, x.device, lanes)).square().sum(), leaf)[0]

    expected, found = gradient(1), torch.empty_like(weights)
    torch.testing.assert_close(gradient(3), expected, rtol=0, atol=0)
    replay = cuda_graph(lambda: found.copy_(gradient(3)), [found])
    x.mul_(2.0)
    replay()
    torch.testing.assert_close(found, gradient(1), rtol=0, atol=0)


def test_runs_that_are_drawn_on_all_cores_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each draws from generators of its own."""
    tasks = [TASKS["resnet9"].with_seed(seed) for seed in range(5)]
    found = []
    for large in (10**9, 0):
        monkeypatch.setattr(begin, "LARGE", large)
        runs = Trainer(DATA, "agent", TrainerConfig("cuda", "fp32"), outer_size=50).start_all(tasks)
        found.append([(run.params, run.order, run.labels, run.val_index) for run in runs])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
