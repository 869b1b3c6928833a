"""Data sets that are made when a task first names them, and forgotten when nobody needs them."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_envs import BASE, tiny_data

from lambda_rl import Constant
from lambda_rl.envs.data import ImageData, load_test, load_train
from lambda_rl.envs.judging import ScheduleJob, run_schedules
from lambda_rl.envs.tasks.suites import Suite, TaskSpace
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.tasks.variations import Tables
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.sources import Sources
from lambda_rl.envs.training.trainer import Trainer
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

DATA = tiny_data()
FP32 = TrainerConfig(precision="fp32")


def table(seed: int, kind: str = "tree", inputs: int = 6) -> Task:
    return replace(BASE, resolution=1, data=f"table:{kind}:{inputs}x3x600:{seed}")


class Counted:
    """Loads, and says what it loaded."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, name: str) -> ImageData:
        self.loaded.append(name)
        return load_train(name)


def sources(load: Counted, most: int) -> Sources:
    return Sources(DATA, "agent", torch.device("cpu"), 20, load, most)


def test_tasks_name_tables_that_nobody_loaded() -> None:
    trainer = Trainer(DATA, "agent", FP32, outer_size=20)
    tasks = [table(1), table(2, inputs=9), table(1), BASE]
    runs = trainer.start_all(tasks)
    assert [run.network.channels for run in runs] == [6, 9, 6, 3]
    measured = [trainer.advance(runs, np.full(4, -2.0)) for _ in range(BASE.decisions)]
    for i, task in enumerate(tasks[:3]):
        given = Trainer({task.data: load_train(task.data)}, "agent", FP32, outer_size=20)
        run = given.start(task)
        alone = [given.advance([run], [-2.0]) for _ in range(BASE.decisions)]
        assert [m.val_loss[i] for m in measured] == [m.val_loss[0] for m in alone]
        assert measured[-1].outer_accuracy[i] == alone[-1].outer_accuracy[0]


def test_the_least_recently_used_are_forgotten() -> None:
    load = Counted()
    held = sources(load, 2)
    a, b, c = (table(seed) for seed in (1, 2, 3))
    first = weakref.ref(held.of(a))
    held.of(b)
    held.of(a)
    held.of(c)  # b goes
    assert list(held) == ["", a.data, c.data]
    held.of(a)
    assert load.loaded == [a.data, b.data, c.data]
    held.of(b)  # c goes
    held.of(c)  # a goes, with all that was made of it
    gc.collect()
    assert first() is None
    assert load.loaded == [a.data, b.data, c.data, b.data, c.data]


def test_those_of_living_runs_stay() -> None:
    load = Counted()
    trainer = Trainer(DATA, "agent", FP32, outer_size=20, load=load)
    trainer.sources = sources(load, 2)
    runs = trainer.start_all([table(seed) for seed in (1, 2, 3, 4)])
    trainer.advance(runs, np.full(4, -2.0))
    assert len(load.loaded) == len(set(load.loaded)) or len(trainer.sources) == 5
    known = len(load.loaded)
    trainer.advance(runs, np.full(4, -2.0))
    assert len(load.loaded) == known
    del runs
    gc.collect()
    trainer.start(table(5))
    assert len(trainer.sources) <= 3


def test_any_thread_may_ask() -> None:
    load = Counted()
    held = sources(load, 64)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: held.of(table(i % 3)), range(48)))
    assert len(load.loaded) == 3
    assert all(found[i] is found[i % 3] for i in range(48))


def test_what_is_not_generated_must_be_given() -> None:
    trainer = Trainer(DATA, "agent", FP32)
    with pytest.raises(ValueError, match="its data 'synthetic:1' was not loaded; loaded: the default"):
        trainer.start(replace(BASE, data="synthetic:1"))
    with pytest.raises(ValueError, match="was not loaded"):
        Trainer(DATA, "agent", FP32, load=None).start(table(1))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"train_size": 241}, "train_size=241, but the inner-train part has 240 images"),
        ({"val_size": 31}, "val_size=31, but the inner-val part has 30 images"),
        ({"resolution": 4}, "resolution=4 must be 1, the side of table:tree"),
        ({"network": "cnn3"}, "its resolution must be even, got 1"),
    ],
)
def test_tasks_are_checked_without_making_their_data(fields: dict[str, int], told: str) -> None:
    load = Counted()
    held = sources(load, 64)
    held.check(table(1))
    with pytest.raises(ValueError, match=told):
        held.check(replace(table(1), **fields))  # type: ignore[arg-type]
    assert load.loaded == []
    with pytest.raises(ValueError, match=told.replace("must be 1, the side of table:tree", "must divide")):
        Trainer(DATA, "agent").start(replace(table(1), **fields))  # type: ignore[arg-type]


SPACE = TaskSpace(
    (table(0), BASE),
    {
        "data": Tables(
            {
                "kinds": ["tree", "sparse"],
                "inputs": [4, 40],
                "classes": [2, 9],
                "rows": 600,
                "seeds": [10, 10_000],
            }
        )
    },
)


def test_an_environment_draws_ever_new_tables() -> None:
    suite = Suite("tables", "agent", SPACE)
    assert suite.datasets == ("",)
    env = CifarLambdaVectorEnv(6, suite=suite, data=DATA)
    env.reset(seed=0)
    rewards = [env.step(np.zeros((6, 1), np.float32))[1] for _ in range(2 * BASE.decisions)]
    assert np.isfinite(rewards).all()
    assert len(env._core.trainer.sources) > 4
    env.close()


def test_schedules_are_judged_on_the_test_rows_of_tables() -> None:
    tasks = [table(1), table(2), BASE]
    jobs = [ScheduleJob(task, "constant", lambda **_: Constant(0.01)) for task in tasks]
    results = run_schedules(jobs, DATA, "held-out", test=tiny_data(90, seed=5), config=FP32)
    given = {name: load_train(name) for name in (tasks[0].data, tasks[1].data)}
    tests = {name: load_test(name) for name in given}
    alone = run_schedules(jobs[:2], given, "held-out", test=tests, config=FP32)
    assert results[:2] == alone
    assert all(0 < result.test_accuracy <= 1 for result in results)
    bare = run_schedules(jobs, DATA, "held-out", config=FP32)
    assert all(np.isnan(result.test_accuracy) for result in bare)
