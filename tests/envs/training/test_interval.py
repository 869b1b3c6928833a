"""An interval that is captured once and replayed, as on a GPU; here with a stand-in for the capture."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from tiny_envs import tiny_data

from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training import trainer as module
from lambda_rl.envs.training.interval import Interval, cuda_graph
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import Trainer

TASK = Task(width=4, train_size=100, val_size=40, batch_size=8, steps=12, decisions=4)
AUGMENTED = dataclasses.replace(TASK, network="resnet9", width=2, resolution=32, augment=True)
DATA = tiny_data(2000)


class Recorder:
    """Captures as a CUDA graph does: what runs meanwhile has no effect, and a replay finds the memory of then."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0

    def __call__(self, function: Callable[[], None], changed: Iterable[torch.Tensor]) -> Callable[[], None]:
        self.captured += 1
        changed = list(changed)
        before = [value.clone() for value in changed]
        function()
        assert any(not torch.equal(a, b) for a, b in zip(changed, before, strict=True))
        for value, old in zip(changed, before, strict=True):
            value.copy_(old)

        def replay() -> None:
            self.replayed += 1
            function()

        return replay


@pytest.mark.parametrize("task", [TASK, dataclasses.replace(TASK, optimizer="adamw"), AUGMENTED])
def test_a_captured_interval_gives_the_same(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """λ changes from interval to interval and a slot gets another run; nothing is captured again."""
    recorder, init = Recorder(), Interval.__init__
    results = []
    for capture in (None, recorder):

        def patched(self: Interval, *args: object, forced: object = capture, **options: object) -> None:
            init(self, *args, **{**options, "capture": forced})  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(module.Interval, "__init__", patched)
            trainer = Trainer(DATA, "agent", TrainerConfig(precision="fp64", chunk=3), outer_size=50)
            runs = [trainer.start(task.with_seed(seed)) for seed in range(3)]
            rows = []
            for decision in range(4):
                if decision == 2:
                    runs[1] = trainer.start(task.with_seed(9))
                measured = trainer.advance(runs, [-1.0 - 0.3 * decision, -2.0, -3.0])
                rows.append([measured.train_loss, measured.val_loss, measured.weight_norm])
            results.append(np.array(rows))
    assert np.array_equal(*results)
    assert recorder.captured == 1
    assert recorder.replayed == 4


def test_what_cannot_be_captured_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With stand-ins for the parts of torch.cuda; the warm-up leaves no trace."""

    class Stream:
        def wait_stream(self, _: object) -> None: ...

    class Context:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> None: ...
        def __exit__(self, *_: object) -> None: ...

    class Refuses(Context):
        def __enter__(self) -> None:
            raise RuntimeError("operation not permitted when stream is capturing")

    for name, stand_in in (
        ("Stream", Stream), ("current_stream", Stream), ("stream", Context), ("CUDAGraph", object), ("graph", Refuses),
    ):  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    value = torch.zeros(3)

    def add() -> None:
        value.add_(1)

    with pytest.warns(RuntimeWarning, match="the interval is not captured: operation not permitted"):
        call = cuda_graph(add, [value])
    assert value.tolist() == [0, 0, 0]
    call()
    assert value.tolist() == [1, 1, 1]
