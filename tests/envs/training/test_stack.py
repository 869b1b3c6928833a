"""Runs that sit side by side: who has which memory, when seats change hands."""

from __future__ import annotations

import dataclasses
import gc

import numpy as np
import pytest
import torch
from tiny_envs import tiny_data

from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.evaluation import evaluate
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import InnerRun
from lambda_rl.envs.training.stack import ROWS, Stack
from lambda_rl.envs.training.trainer import Trainer

TASK = Task(width=4, train_size=100, val_size=40, batch_size=8, steps=12, decisions=4)
DATA = tiny_data(2000)


def make(**config: object) -> Trainer:
    return Trainer(DATA, "agent", TrainerConfig(precision="fp64", **config), outer_size=50)


def start(trainer: Trainer, seed: int, **changes: object) -> InnerRun:
    return trainer.start(dataclasses.replace(TASK, seed=seed, **changes))


def state(run: InnerRun) -> list[torch.Tensor]:
    return [v.clone() for group in (run.params, *run.optimizer.values()) for v in group.values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(map(torch.equal, one, other))


def shares(run: InnerRun, stack: Stack, place: int) -> bool:
    return all(v.data_ptr() == stack.params[k][place].data_ptr() for k, v in run.params.items())


def test_a_seated_run_is_a_view_and_stays_what_it_was() -> None:
    trainer = make()
    runs = [start(trainer, seed, val_size=size) for seed, size in ((0, 40), (1, 10))]
    before = [state(run) for run in runs]
    val = [(run.val.inputs.clone(), run.val.labels.clone()) for run in runs]
    stack = Stack(runs)
    stack.seat(runs)
    for place, run in enumerate(runs):
        assert shares(run, stack, place)
        assert same(state(run), before[place])
        assert torch.equal(run.val.inputs, val[place][0])
        assert torch.equal(run.val.labels, val[place][1])
    assert stack.val.sizes == [40, 10]
    assert stack.val.inputs.shape[1] == 3 * ROWS
    assert (stack.val.labels[1, 10:] == -1).all()


def test_who_loses_a_seat_and_is_still_held_gets_memory_of_its_own() -> None:
    trainer = make()
    first, second, third = (start(trainer, seed) for seed in range(3))
    stack = Stack([first, second])
    stack.seat([first, second])
    before = [state(run) for run in (first, second, third)]
    stack.seat([third, first])  # the first moves, the second goes
    assert shares(third, stack, 0)
    assert shares(first, stack, 1)
    assert second.seat is None
    assert not shares(second, stack, 1)
    assert [same(state(run), old) for run, old in zip((first, second, third), before, strict=True)] == [
        True
    ] * 3


def test_a_longer_evaluation_set_makes_room_for_itself() -> None:
    trainer = make()
    runs = [start(trainer, seed, val_size=20) for seed in range(2)]
    stack = Stack(runs)
    stack.seat(runs)
    long = start(trainer, 5, val_size=100)
    kept, wanted = runs[0].val.inputs.clone(), long.val.inputs.clone()
    stack.seat([runs[0], long])
    assert torch.equal(runs[0].val.inputs, kept)
    assert torch.equal(long.val.inputs, wanted)
    assert stack.val.inputs.shape[1] >= 100
    assert (stack.val.labels[0, 20:] == -1).all()


def test_what_seated_runs_learn_from_next() -> None:
    """Of several lengths, at the same step and at others; a longer one, and places that do not follow each other."""
    trainer = make()
    runs = [
        start(trainer, seed, steps=steps, momentum=0.1 * seed) for seed, steps in enumerate((8, 12, 8, 10))
    ]
    parts = [(run.order.clone(), run.labels.clone()) for run in runs]
    stack = Stack(runs)
    stack.seat(runs)
    for changed in ((), (0, 2), (1,)):
        gone = [runs[place] for place in changed]
        for place in changed:
            runs[place] = start(trainer, 10 + place, steps=30)
            parts[place] = runs[place].order.clone(), runs[place].labels.clone()
        before = [run.order.clone() for run in gone]
        stack.seat(runs)
        assert same([run.order for run in gone], before)
        for done in ([3, 3, 3, 3], [0, 5, 2, 1], [4, 4]):
            order, labels = stack.plan.minibatches(np.array(done), 3)
            rates = stack.plan.rates(np.array(done), 3)
            for n, step in enumerate(done):
                now = slice(step, step + 3)
                assert torch.equal(order[:, n], parts[n][0][now])
                assert torch.equal(labels[:, n], parts[n][1][now])
                assert rates[:, n].tolist() == runs[n].learning_rates[now].tolist()
            assert stack.plan.momentum(2).tolist() == [run.task.momentum for run in runs[:2]]
        assert all(shares(run, stack, place) for place, run in enumerate(runs))


@pytest.mark.parametrize("threads", [1, 2])
def test_any_order_and_company_gives_the_same_runs(threads: int) -> None:
    """Runs that are trained by turns with others, in other orders, with others coming and going, as each alone."""
    sizes = [40, 10, 25, 40, 17]
    expected = []
    for seed, size in enumerate(sizes):
        alone = make()
        run = start(alone, seed, val_size=size)
        expected.append([alone.advance([run], [-2.0]) for _ in range(3)])
    trainer = make(chunk=3, threads=threads)
    runs = [start(trainer, seed, val_size=size) for seed, size in enumerate(sizes)]
    done = [0] * 5
    for turn in ([0, 1, 2, 3, 4], [4, 2], [3, 0, 1], [1, 3, 0, 2], [4]):
        measured = trainer.advance([runs[i] for i in turn], [-2.0] * len(turn))
        for place, i in enumerate(turn):
            for key, value in vars(measured).items():
                assert value[place] == pytest.approx(getattr(expected[i][done[i]], key)[0], rel=1e-12), key
            done[i] += 1
    assert done == [3] * 5
    trainer.close()


def test_a_freed_slot_is_taken_without_touching_the_others() -> None:
    trainer = make()
    runs = [start(trainer, seed) for seed in range(3)]
    trainer.advance(runs, [-2.0] * 3)
    (stack,) = trainer._stacks.values()
    addresses = [value.data_ptr() for value in stack.params.values()]
    runs[1] = start(trainer, 7)
    runs[1].step, runs[1].decision = runs[0].step, runs[0].decision  # the same interval
    trainer.advance(runs, [-2.0] * 3)
    assert list(trainer._stacks.values()) == [stack]
    assert [value.data_ptr() for value in stack.params.values()] == addresses
    assert shares(runs[1], stack, 1)


def test_stacks_that_nobody_needs_are_let_go() -> None:
    trainer = make()
    trainer.advance([start(trainer, 0)], [-2.0])
    gc.collect()
    other = start(trainer, 1, width=6)
    trainer.advance([other], [-2.0])
    assert len(trainer._stacks) == 1


def test_restoring_a_state_into_a_seated_run() -> None:
    trainer = make()
    run = start(trainer, 0)
    trainer.advance([run], [-2.0])
    saved = run.state_dict()
    once = trainer.advance([run], [-2.0]).val_loss
    run.load_state_dict(saved)
    assert np.array_equal(trainer.advance([run], [-2.0]).val_loss, once)


def test_evaluation_of_sets_of_different_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make()
    runs = [start(trainer, seed, val_size=size) for seed, size in ((0, 90), (1, 33), (2, 5))]
    stack = Stack(runs)
    stack.seat(runs)
    network = runs[0].network
    monkeypatch.setattr(network, "evaluated_at_once", 32, raising=True)
    loss, accuracy = evaluate(
        network, stack.params, stack.buffers, stack.val.inputs, stack.val.labels, stack.val.sizes
    )
    for place, run in enumerate(runs):
        params = {name: value[None] for name, value in run.params.items()}
        out = network.forward(params, {}, run.val.inputs[None], training=False)[0].T
        assert loss[place].item() == pytest.approx(
            torch.nn.functional.cross_entropy(out, run.val.labels).item()
        )
        assert accuracy[place].item() == pytest.approx(
            (out.argmax(1) == run.val.labels).double().mean().item()
        )


def test_who_is_not_there_is_not_trained_with_the_empty_places() -> None:
    """A run that sat in a place that is empty now has its optimizer's state untouched."""
    trainer = make(compile=True, chunk=3)
    runs = [start(trainer, seed) for seed in range(3)]
    trainer.advance(runs, [-2.0] * 3)
    (stack,) = trainer._stacks.values()
    before = state(runs[2])
    trainer.advance(runs[:2], [-2.0] * 2)
    assert list(trainer._stacks.values()) == [stack]
    assert runs[2].seat is None
    assert same(state(runs[2]), before)
    alone = make()
    expected = [alone.start(runs[2].task)]
    rows = [alone.advance(expected, [-2.0]) for _ in range(2)]
    trainer.advance(runs[:2], [-2.0] * 2)
    found = trainer.advance([runs[2]], [-2.0])
    for key, value in vars(rows[1]).items():
        assert getattr(found, key) == pytest.approx(value, rel=1e-9), key
