"""Runs of several data sets in one trainer, of other shapes and numbers of classes: each is what it is alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_envs import BASE, actions, tiny_data

from lambda_rl import Constant
from lambda_rl.envs.data import DATA_SETS, DataSet, ImageData, Places, load_parts
from lambda_rl.envs.data.cache import Part, to_part
from lambda_rl.envs.judging import RunResult, ScheduleJob, run_schedules
from lambda_rl.envs.reward import RewardConfig
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.run import InnerRun
from lambda_rl.envs.training.trainer import Measurements, Trainer
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv

COLOUR, COLOUR_TEST = tiny_data(), tiny_data(90, seed=5)
FP32 = TrainerConfig(precision="fp32")


class Grey(DataSet):
    """Images of one channel and 16 x 16 pixels, brighter from class to class; three classes."""

    form = "grey"

    def make(self, part: str, places: Places) -> Part:
        """See :meth:`DataSet.make`."""
        rng = np.random.default_rng(part == "test")
        labels = rng.integers(0, 3, 90 if part == "test" else 500)
        images = rng.integers(0, 190, (len(labels), 1, 16, 16)) + 30 * labels[:, None, None, None]
        return to_part(images.astype(np.uint8), labels, ("dark", "middle", "bright"))


@pytest.fixture(autouse=True)
def _grey() -> Iterator[None]:
    with DATA_SETS.temporarily("grey", Grey):
        yield


def both(part: str) -> dict[str, ImageData]:
    """Images of both data sets by the names that tasks give them."""
    return load_parts(
        "train" if part == "train" else "test", COLOUR if part == "train" else COLOUR_TEST, ["grey"]
    )


def mixed(task: Task) -> list[Task]:
    """Runs of both data sets, in turns."""
    return [replace(task, data=data, seed=seed) for seed in range(3) for data in ("", "grey")]


def trained(trainer: Trainer, tasks: list[Task]) -> tuple[list[InnerRun], list[Measurements]]:
    runs = [trainer.start(task) for task in tasks]
    log_lam = np.array([-1.0 - task.seed for task in tasks])
    return runs, [trainer.advance(runs, log_lam) for _ in range(tasks[0].decisions)]


@pytest.mark.parametrize(
    "task",
    [BASE, replace(BASE, network="cnn3", width=2), replace(BASE, resolution=8, augment=True)],
    ids=["mlp", "cnn3", "mlp at 8 pixels, augmented"],
)
def test_runs_alike_are_fused_and_each_is_what_it_is_in_a_trainer_of_its_data_set_alone(task: Task) -> None:
    parts = both("train")
    tasks = mixed(task)
    trainer = Trainer(parts, "agent", FP32, outer_size=20)
    runs, measured = trained(trainer, tasks)
    assert len(trainer._stacks) == 2  # one a data set, of three runs each
    for data, channels, classes in (("", 3, 10), ("grey", 1, 3)):
        own = [i for i, other in enumerate(tasks) if other.data == data]
        alone, expected = trained(
            Trainer({data: parts[data]}, "agent", FP32, outer_size=20), [tasks[i] for i in own]
        )
        for i, run in zip(own, alone, strict=True):
            assert (run.network.channels, run.network.num_classes) == (channels, classes)
            assert runs[i].facts == run.facts
            assert all(torch.equal(value, runs[i].params[name]) for name, value in run.params.items())
        for one, other in zip(measured, expected, strict=True):
            for key, values in vars(other).items():
                assert np.array_equal(getattr(one, key)[own], values), key


def test_in_an_environment_each_slot_has_its_own_data_set_and_is_scored_by_its_number_of_classes() -> None:
    reward = RewardConfig(outer_size=20)
    tasks = mixed(BASE)[:4]
    suite = Suite("mixed", "agent", TaskList(tuple(tasks)))
    env = CifarLambdaVectorEnv(4, suite=suite, data=COLOUR, reward=reward)
    alone = CifarLambdaVectorEnv(2, suite=suite, data=COLOUR, reward=reward)
    seen, _ = env.reset(seed=0, options={"tasks": tasks})
    expected, _ = alone.reset(seed=0, options={"tasks": tasks[1::2]})  # those of grey images
    assert np.array_equal(seen[1::2], expected)
    rewards = np.zeros(4)
    for move in actions(BASE.decisions, 4):
        _, reward_now, ended, _, infos = env.step(move)
        _, expected_now, _, _, told = alone.step(move[1::2])
        assert np.array_equal(reward_now[1::2], expected_now)
        rewards += reward_now
    assert ended.all()
    final, own = infos["final_info"], told["final_info"]
    assert np.array_equal(final["val_loss"][1::2], own["val_loss"])
    for slot, classes in enumerate((10, 3, 10, 3)):
        score = reward.score(final["outer_accuracy"][slot], final["outer_loss"][slot], classes)
        assert rewards[slot] == pytest.approx(reward.scale * (score - reward.chance(classes)), abs=1e-9)


def judged(tasks: list[Task], lam: float, names: tuple[str, ...] = ("", "grey")) -> list[RunResult]:
    train, test = ({name: both(part)[name] for name in names} for part in ("train", "test"))
    jobs = [ScheduleJob(task, "constant", lambda **_: Constant(lam)) for task in tasks]
    return run_schedules(jobs, train, "agent", test=test, config=FP32)


def test_schedules_are_judged_on_the_test_images_of_each_data_set() -> None:
    tasks = mixed(BASE)
    together = judged(tasks, 0.01)
    for data in ("", "grey"):
        own = [result for result in together if result.task.data == data]
        alone = judged([result.task for result in own], 0.01, (data,))
        for one, other in zip(own, alone, strict=True):
            assert one == other
            assert math.isfinite(one.test_loss)
    # A run that diverges is as good as guessing among its own classes.
    lost = judged([replace(task, learning_rate=1e4) for task in tasks[:2]], 1e3)
    assert [result.diverged for result in lost] == [True, True]
    assert [result.test_accuracy for result in lost] == [0.1, pytest.approx(1 / 3)]
    assert [result.test_loss for result in lost] == [pytest.approx(math.log(n)) for n in (10, 3)]


def test_what_a_data_set_cannot_give_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"resolution=32 must divide the side of grey's images, 16 pixels"):
        Trainer(both("train"), "agent").start(replace(BASE, data="grey", resolution=32))
    for name in ("train_size", "val_size"):
        wanting = Suite("x", "agent", TaskList((BASE, replace(BASE, data="grey", **{name: 230}))))  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=rf"task mlp4-grey-.*: {name}=230, but the inner-"):
            CifarLambdaVectorEnv(1, suite=wanting, data=COLOUR)
    with pytest.raises(ValueError, match="its data 'grey' was not loaded; loaded: the default"):
        Trainer(COLOUR, "agent").start(replace(BASE, data="grey"))
    jobs = [ScheduleJob(task, "constant", lambda **_: Constant(0.1)) for task in mixed(BASE)]
    with pytest.raises(ValueError, match="no test images of its data 'grey' were given"):
        run_schedules(jobs, both("train"), "agent", test=COLOUR_TEST)
    with pytest.raises(ValueError, match="test images have 10 classes, training images 3"):
        run_schedules(jobs, both("train"), "agent", test={"": COLOUR_TEST, "grey": COLOUR_TEST})
