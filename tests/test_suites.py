"""Suites: the built-in ones, distributions, and files that anybody can bring."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lambda_rl.envs.split import split_data
from lambda_rl.envs.suites import MAX_SEED, MIN_SEED, Suite, TaskDistribution, load_suite, suite_names
from lambda_rl.envs.tasks import Task

FAMILIES = {
    "quick": {"mlp"},
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
    assert training.distribution is not None
    assert not training.tasks
    rng = np.random.default_rng(0)
    assert {training.sample(rng).network for _ in range(50)} == FAMILIES[family]
    for suite in (validation, held_out):
        assert suite.distribution is None
        assert {task.network for task in suite.tasks} == FAMILIES[family]
        assert len(set(suite.task_names)) == len(suite.tasks)
        assert all(task.seed == 0 for task in suite.tasks)


@pytest.mark.parametrize("name", suite_names())
def test_every_built_in_suite_fits_the_data_that_it_is_for(name: str) -> None:
    suite = load_suite(name)
    assert suite.name == name
    images = 12_000 if name.startswith("quick") else 50_000
    split = split_data(images, suite.fold)
    assert suite.largest
    for task in suite.largest:
        assert task.train_size <= len(split.inner_train)
        assert task.val_size <= len(split.inner_val)
        assert 15 <= task.decisions <= 25


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
    distribution = suite.distribution
    assert distribution is not None
    rng = np.random.default_rng(0)
    tasks = [suite.sample(rng) for _ in range(2000)]
    low, high = distribution.train_size
    sizes = np.array([task.train_size for task in tasks])
    assert low <= sizes.min() < 1.1 * low
    assert 0.9 * high < sizes.max() <= high
    assert np.median(sizes) == pytest.approx(np.sqrt(low * high), rel=0.2)  # log-uniform
    vals = [task.val_size for task in tasks]
    assert distribution.val_size[0] <= min(vals) <= max(vals) <= distribution.val_size[1]
    lams = [task.initial_lam for task in tasks]
    assert distribution.initial_lam[0] <= min(lams) <= max(lams) <= distribution.initial_lam[1]
    assert {task.label_noise for task in tasks} == set(distribution.label_noise)

    def shape(task: Task) -> tuple[object, ...]:
        return task.network, task.width, task.steps

    bases = {shape(base): base for base in distribution.bases}
    factors = [task.learning_rate / bases[shape(task)].learning_rate for task in tasks]
    assert distribution.learning_rate_factor[0] <= min(factors) <= max(factors)
    assert max(factors) <= distribution.learning_rate_factor[1]
    for task in tasks[:50]:
        base = bases[shape(task)]
        drawn = ("train_size", "val_size", "label_noise", "learning_rate", "initial_lam", "seed")
        assert replace(task, **{name: getattr(base, name) for name in drawn}) == base


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


def test_a_list_is_drawn_from_evenly() -> None:
    suite = load_suite("quick-validation")
    rng = np.random.default_rng(2)
    drawn = [suite.sample(rng).name for _ in range(600)]
    assert set(drawn) == set(suite.task_names)
    assert min(drawn.count(name) for name in set(drawn)) > 60


def test_names_are_made_unique() -> None:
    task = Task()
    suite = Suite("x", "agent", tasks=(task, replace(task, learning_rate=0.5), replace(task, width=3), task))
    assert suite.task_names == [f"{task.name}#1", f"{task.name}#2", "mlp3-n5000-val1000", f"{task.name}#3"]


def test_a_suite_is_a_list_or_a_distribution() -> None:
    distribution = TaskDistribution((Task(),), (1, 2), (1, 2), (0.0,), (1.0, 1.0), (0.1, 0.1))
    for options in ({}, {"tasks": (Task(),), "distribution": distribution}):
        with pytest.raises(ValueError, match="suite x: give a list of tasks or a distribution"):
            Suite("x", "agent", **options)  # type: ignore[arg-type]


def test_largest() -> None:
    distribution = TaskDistribution(
        (Task(), Task(width=3)), (10, 200), (5, 60), (0.0,), (1.0, 1.0), (0.1, 0.1)
    )
    suite = Suite("x", "agent", distribution=distribution)
    assert suite.largest == (Task(train_size=200, val_size=60), Task(width=3, train_size=200, val_size=60))
    assert Suite("x", "agent", tasks=(Task(),)).largest == (Task(),)


# Files


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_file_with_defaults(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        defaults: {network: cnn3, width: 8, learning_rate: 1e-2, penalty: l0.5}
        tasks:
          - {train_size: 500}
          - {train_size: 700, width: 4, label_noise: 0}
        """,
    )
    suite = load_suite(path)
    assert (suite.name, suite.fold) == ("mine", "held-out")
    base = Task(network="cnn3", width=8, learning_rate=0.01, penalty="l0.5")
    assert suite.tasks == (replace(base, train_size=500), replace(base, train_size=700, width=4))
    assert load_suite(str(path)) == suite
    assert load_suite(written(tmp_path, "name: my suite\ntasks: [{}]")).name == "my suite"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a mapping with `tasks:`, got NoneType"),
        ("- {width: 3}", "must be a mapping with `tasks:`, got list"),
        ("tasks: [", "not valid YAML"),
        ("tasks: [{}]\ntask: 3", "unknown field task; allowed are name, defaults, tasks"),
        ("defaults: {width: 3}", "`tasks:` must be a list of at least one task"),
        ("tasks: []", "`tasks:` must be a list of at least one task"),
        ("tasks: {width: 3}", "`tasks:` must be a list of at least one task"),
        ("defaults: [1]\ntasks: [{}]", "`defaults:` must be a mapping of task fields"),
        ("tasks: [{}, 7]", "task 2: must be a mapping of task fields, got 7"),
        ("tasks: [{}, {widht: 7}]", "task 2: unknown field widht; allowed are network, width"),
        ("defaults: {lr: 3}\ntasks: [{}]", "task 1: unknown field lr; allowed are"),
        ("tasks: [{width: 0}]", "task 1: .*width must be a whole number of at least 1, got 0"),
        ("tasks: [{resolution: 16.0}]", "task 1: .*resolution must be a whole number"),
        ("tasks: [{penalty: l7}]", r"task 1: .*penalty must be one of l2, l1, l0\.5; got 'l7'"),
        ("tasks: [{learning_rate: fast}]", "task 1: learning_rate must be a number, got 'fast'"),
        ("tasks: [{learning_rate: true}]", "task 1: .*learning_rate must be a finite number, got True"),
        ("tasks: [{augment: 'no'}]", "task 1: .*augment must be true or false"),
    ],
)
def test_errors_name_the_file_and_the_place(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        load_suite(path)
    assert str(caught.value).startswith(f"suite file {path}")


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"tasks: \xff\xfe\x00")
    with pytest.raises(ValueError, match="not valid YAML"):
        load_suite(path)


def test_neither_name_nor_file(tmp_path: Path) -> None:
    for name in ("cifar-mpl", str(tmp_path / "none.yaml"), str(tmp_path)):
        with pytest.raises(ValueError, match=r"is neither a file nor one of .*cifar-mlp.*quick") as caught:
            load_suite(name)
        assert repr(name) in str(caught.value)


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    path = written(tmp_path, "tasks: !!python/object/apply:os.getcwd []")
    with pytest.raises(ValueError, match="not valid YAML"):
        load_suite(path)
