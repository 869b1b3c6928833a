"""The achievable floor: its kernels do the operations that the model counts, and its shares are shares."""

from __future__ import annotations

import pytest
import torch
from tiny_envs import tiny_data
from torch.utils.flop_counter import FlopCounterMode

from lambda_rl.agents.benchmark.machine import kernels as module
from lambda_rl.agents.benchmark.machine.achievable import FastestStep
from lambda_rl.agents.benchmark.machine.kernels import Kernel, Stacked, kernels, quickest
from lambda_rl.agents.benchmark.machine.roofline import products, step_parts
from lambda_rl.agents.benchmark.opponents import Setting
from lambda_rl.agents.benchmark.ours import compare_with_fastest, fastest_rows, our_rows
from lambda_rl.agents.benchmark.timing import time_rows
from lambda_rl.agents.options import DataOptions
from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import network_of

CPU = torch.device("cpu")
STACKED = Stacked(2, torch.float32, CPU)
TASK = Task(width=4, batch_size=8, steps=10, decisions=2, train_size=40, val_size=20)


def _counted(kernel: Kernel) -> int:
    call = kernel.prepare()
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["mlp", "cnn3"])
def test_every_kernel_does_the_operations_of_its_product(name: str) -> None:
    network = make_network(NetworkSpec(name, 2, 8))
    task = Task(network=name, width=2, resolution=8, batch_size=3)
    parts = {part.name: part for part in step_parts(task, network, "fp32", 0.0) if part.flops}
    for layer in products(network):
        for kind in (module.FORWARD, module.OF_WEIGHT, module.OF_INPUT):
            part = parts.pop(f"{layer.name} {kind}", None)
            ways = list(kernels(layer, kind, task.batch_size, STACKED))
            assert len({way.name for way in ways}) == len(ways)
            for way in ways if part else ():
                assert part is not None
                least, counted = STACKED.count * part.flops, _counted(way)
                if "in groups" in way.name and kind != module.FORWARD:
                    assert counted >= least  # torch's counter looks at no groups there
                else:
                    assert counted == least if way.direct else counted > least, way.name
    assert not parts  # all products of a step are there


def test_a_convolution_over_tiles_is_the_whole_one_at_its_shapes() -> None:
    """Rows, inner side and columns of the largest tiles, by hand: 8 x 8 images have four tiles of 4 x 4."""
    layer = products(make_network(NetworkSpec("cnn3", 2, 8)))[0]
    largest = [way for way in kernels(layer, module.FORWARD, 3, STACKED) if "4×4" in way.name]
    assert {_counted(way) for way in largest} == {2 * 2 * (3 * 4) * (3 * 64) * (2 * 16)}


def test_the_quickest_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {"slow": 3.0, "quick": 1.0, "hopeless": 100.0}
    tried: list[str] = []

    def spent(call: module.Call, calls: int, device: torch.device) -> float:
        tried.append(str(call()))
        return seconds[tried[-1]]

    monkeypatch.setattr(module, "spent_on", spent)
    found = [Kernel(name, lambda name=name: lambda: name) for name in seconds]  # type: ignore[misc]
    assert quickest(found, CPU, 1e-3).name == "quick"
    assert tried.count("hopeless") == 1


def test_parts_and_shares() -> None:
    setting = Setting(DataOptions(), tiny_data(2000), outer_size=10, slots=2, device=CPU, tiny=True)
    config = TrainerConfig(precision="fp32")
    rows = {label: row for label, row, _ in our_rows(TASK, setting, [config])}
    made = list(fastest_rows(TASK, setting, config, 5.0))
    rows |= {label: row for label, row, _ in made}
    steps: dict[str, FastestStep] = {row.precision: step for _, row, step in made}
    timed = {
        label: found | {"precision": rows[label].precision}
        for label, found in time_rows(rows, 2, CPU).items()
    }
    compare_with_fastest(timed, steps)
    assert len(steps["fp32"].of_each_run) == 2
    ours = timed["ours, fp32, N=2"]
    assert 0 < ours["cpu_share_of_fastest"] <= 1.5
    assert ours["share_of_fastest"] > 0
    assert "cpu_share_of_fastest" not in timed["fastest kernels, fp32"]
    found = steps["fp32"].found()
    assert steps["fp32"].run() == 2 * 2  # two networks, a fifth of ten steps
    names = [part.name for part in step_parts(TASK, network_of(TASK, 10), "fp32", 5.0)]
    assert list(found["parts"]) == names
    assert found["seconds"] == pytest.approx(sum(part["seconds"] for part in found["parts"].values()))
    assert all(part["seconds"] > 0 for part in found["parts"].values())
    for row in rows.values():
        row.close()
