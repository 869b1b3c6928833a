"""Suites: the built-in ones, and what a suite tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lambda_rl.envs.data.split import split_data
from lambda_rl.envs.tasks.suites import (
    MAX_SEED,
    MIN_SEED,
    Suite,
    TaskList,
    TaskSpace,
    load_suite,
    suite_names,
)
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.tasks.variations import Choice, LogUniform

FAMILIES = {
    "quick": {"mlp"},
    "demo": {"mlp"},
    "cifar-mlp": {"mlp"},
    "cifar-cnn": {"cnn3"},
    "cifar-mixed": {"mlp", "cnn3"},
    "cifar-resnet9": {"resnet9"},
}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_built_in_suites(family: str) -> None:
    assert {family, f"{family}-validation", f"{family}-held-out"} <= set(suite_names())
    training, validation, held_out = (
        load_suite(f"{family}{part}") for part in ("", "-validation", "-held-out")
    )
    assert (training.fold, validation.fold, held_out.fold) == ("agent", "agent", "held-out")
    assert isinstance(training.source, TaskSpace)
    assert not training.tasks
    rng = np.random.default_rng(0)
    assert {training.sample(rng).network for _ in range(50)} == FAMILIES[family]
    for suite in (validation, held_out):
        assert isinstance(suite.source, TaskList)
        assert {task.network for task in suite.tasks} == FAMILIES[family]
        assert len(set(suite.task_names)) == len(suite.tasks)
        assert all(task.seed == 0 for task in suite.tasks)


@pytest.mark.parametrize("name", suite_names())
def test_every_built_in_suite_fits_the_data_that_it_is_for(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    images = {"quick": 12_000, "demo": 20_000}.get(name.partition("-")[0], 50_000)
    split = split_data(images, suite.fold)
    assert suite.largest
    for task in suite.largest:
        assert task.train_size <= len(split.inner_train)
        assert task.val_size <= len(split.inner_val)
        assert 10 <= task.decisions <= 30


def test_the_comparison_of_the_issue_can_be_made() -> None:
    tasks = load_suite("cifar-mlp-held-out").tasks
    assert len(tasks) >= 12
    assert {task.val_size for task in tasks} == {2000}
    fifth = load_suite("cifar-mlp-held-out-fifth").tasks
    assert [task.val_size for task in fifth] == [round(task.train_size / 5) for task in tasks]
    assert [replace(task, val_size=2000) for task in fifth] == list(tasks)
    assert len(load_suite("cifar-cnn-held-out").tasks) == 6


def test_distribution_draws_within_its_ranges() -> None:
    suite = load_suite("cifar-mixed")
    space = suite.source
    assert isinstance(space, TaskSpace)
    rng = np.random.default_rng(0)
    tasks = [suite.sample(rng) for _ in range(2000)]
    limits = {name: variation.ends(1.0) for name, variation in space.vary.items()}
    low, high = limits["train_size"]
    sizes = np.array([task.train_size for task in tasks])
    assert low <= sizes.min() < 1.1 * low
    assert 0.9 * high < sizes.max() <= high
    assert np.median(sizes) == pytest.approx(np.sqrt(low * high), rel=0.2)  # log-uniform
    for name in ("val_size", "initial_lam"):
        values = [getattr(task, name) for task in tasks]
        assert limits[name][0] <= min(values) <= max(values) <= limits[name][1]
    assert {task.label_noise for task in tasks} == set(limits["label_noise"])

    def shape(task: Task) -> tuple[object, ...]:
        return task.network, task.width, task.steps

    bases = {shape(base): base for base in space.bases}
    factors = [task.learning_rate / bases[shape(task)].learning_rate for task in tasks]
    assert limits["learning_rate"][0] <= min(factors) <= max(factors) <= limits["learning_rate"][1]
    for task in tasks[:50]:
        base = bases[shape(task)]
        assert replace(task, **{name: getattr(base, name) for name in (*space.vary, "seed")}) == base


@pytest.mark.parametrize("name", ["quick", "cifar-mixed-validation"])
def test_drawn_seeds_are_never_those_of_lists(name: str) -> None:
    """Seeds below MIN_SEED are for validation, tuning and comparison, so training never sees their runs."""
    suite = load_suite(name)
    rng = np.random.default_rng(1)
    seeds = [suite.sample(rng).seed for _ in range(500)]
    assert MIN_SEED <= min(seeds) < max(seeds) < MAX_SEED
    assert len(set(seeds)) > 490
    again = np.random.default_rng(1)
    assert [suite.sample(again).seed for _ in range(500)] == seeds


def test_names_are_made_unique() -> None:
    task = Task()
    tasks = (task, replace(task, learning_rate=0.5), replace(task, width=3), task)
    suite = Suite("x", "agent", TaskList(tasks))
    assert suite.task_names == [f"{task.name}#1", f"{task.name}#2", "mlp3-n5000-val1000", f"{task.name}#3"]


SPACE = TaskSpace((Task(), Task(data="cifar10")), {"train_size": LogUniform((10, 200))})
LIST = TaskList((Task(), Task(data="cifar100"), Task(data="cifar10", width=3)))


def test_a_suite_is_a_list_or_a_distribution() -> None:
    assert Suite("x", "agent", LIST).tasks == LIST.tasks
    assert Suite("x", "agent", SPACE).tasks == ()
    assert Suite("x", "agent", SPACE).largest == SPACE.largest
    for source in (None, (Task(),), Task()):
        with pytest.raises(ValueError, match="suite x: give a TaskList or a TaskSpace, got"):
            Suite("x", "agent", source)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="suite x: fold must be one of agent, held-out; got 'test'"):
        Suite("x", "test", LIST)  # type: ignore[arg-type]


def test_what_needs_a_list_says_so() -> None:
    assert Suite("x", "agent", LIST).listed("tuning") == LIST.tasks
    with pytest.raises(
        ValueError, match=r"suite x is a distribution to train on; tuning needs a list of tasks$"
    ):
        Suite("x", "agent", SPACE).listed("tuning")
    with pytest.raises(ValueError, match=r"needs a list of tasks, as quick-held-out or quick-validation$"):
        load_suite("quick").listed("a comparison")


def test_an_agent_trains_on_its_own_images_whatever_suite_it_is_given() -> None:
    for name in suite_names():
        suite = load_suite(name)
        trained_on = suite.on("agent")
        assert trained_on.fold == "agent"
        assert (trained_on.name, trained_on.source) == (name, suite.source)
    assert load_suite("quick-held-out").fold == "held-out"  # a copy was changed


def test_a_suite_tells_the_data_sets_that_its_tasks_can_name() -> None:
    assert Suite("x", "agent", LIST).datasets == ("", "cifar10", "cifar100")
    assert Suite("x", "agent", SPACE).datasets == ("", "cifar10")
    space = TaskSpace((Task(),), {"data": Choice(("synthetic:1", "synthetic:2"))})
    assert Suite("x", "agent", space).datasets == ("synthetic:1", "synthetic:2")
    assert all(load_suite(name).datasets == ("",) for name in suite_names())


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../../x",
        "a/b",
        "a\\b",
        ".hidden",
        "..",
        "\ud83e\udd8a",
        "a\nb",
        "a\x1b[2J",
        "\u202eabc",
        "x" * 101,
        3,
        None,
    ],
)
def test_a_name_can_be_shown_and_is_no_path(name: Any) -> None:
    """R20, R42: names stand in file names, terminals and results, which are UTF-8."""
    with pytest.raises(ValueError, match="the name of a suite must ") as caught:
        Suite(name, "agent", LIST)
    str(caught.value).encode()


@pytest.mark.parametrize("name", ["mine", "my suite (2)", "雪と氷 🦊", "[bold]", "a" * 100])
def test_a_name_may_be_in_any_language(name: str) -> None:
    assert Suite(name, "agent", LIST).name == name
