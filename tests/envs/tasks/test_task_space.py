"""Distributions over any fields of a task."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest

from lambda_rl.envs.networks import NETWORKS, Option
from lambda_rl.envs.networks.mlp import MLP
from lambda_rl.envs.tasks.space import MAX_SEED, MIN_SEED, TaskList, TaskSpace, bounds
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.envs.tasks.task import Task, field_types
from lambda_rl.envs.tasks.variations import VARIATIONS, Choice, Const, LogUniform, TimesLogUniform, Uniform


def drawn(space: TaskSpace, count: int = 400, seed: int = 0) -> list[Task]:
    rng = np.random.default_rng(seed)
    return [space.sample(rng) for _ in range(count)]


def test_any_field_can_vary() -> None:
    varied: dict[str, Any] = {
        "network": Choice(("mlp", "cnn3")),
        "width": LogUniform((4, 64)),
        "resolution": Choice((16, 32)),
        "train_size": Uniform((100, 200)),
        "val_size": TimesLogUniform((0.01, 0.1)),
        "label_noise": Uniform((0.0, 0.4)),
        "optimizer": Choice(("sgd", "adamw")),
        "learning_rate": TimesLogUniform((0.5, 2.0)),
        "lr_schedule": Choice(("cosine", "constant")),
        "momentum": Uniform((0.8, 0.95)),
        "batch_size": Choice((16, 32)),
        "steps": Uniform((100, 300)),
        "decisions": Uniform((5, 20)),
        "penalty": Choice(("l2", "l1")),
        "decay": Const("coupled"),
        "initial_lam": LogUniform((1e-4, 1.0)),
        "augment": Choice((False, True)),
        "pixels": Choice(("standardised", "mean-subtracted")),
        "init_std": Choice((0.0, 0.1)),
        "lr_decay": Uniform((0.5, 1.0)),
        "lr_decay_every": Choice((0, 7)),
        "warmup": Uniform((0.0, 0.3)),
        "init_scale": LogUniform((0.1, 2.0)),
        "input_scale": TimesLogUniform((0.1, 10.0)),
        "input_shift": Uniform((-1.0, 1.0)),
        "horizon": LogUniform((0.5, 2.0)),
        "lr_told": Choice(("sum", "nominal")),
        "initial_kappa": LogUniform((0.1, 10.0)),
        "data": Choice(("synthetic:1", "cifar10")),
        "network_options": Choice(({"activation": "gelu"}, {"activation": "relu", "norm": "batch"})),
    }
    assert set(varied) == set(field_types()) - {"seed"}
    space = TaskSpace((Task(),), varied)
    tasks = drawn(space)
    for field, variation in varied.items():
        found = {getattr(task, field) for task in tasks}
        if field == "decay":
            assert found == {"coupled"}
        elif field == "network_options":
            assert found == {(("activation", "gelu"),), (("activation", "relu"), ("norm", "batch"))}
        elif variation.numeric:
            base = getattr(Task(), field)
            low, high = variation.ends(base)
            assert low <= min(found) < max(found) <= high
            assert {type(value) for value in found} == {type(base)}
        else:
            assert found == set(variation.values)
    assert all(MIN_SEED <= task.seed < MAX_SEED for task in tasks)


def test_fields_are_drawn_in_the_order_in_which_they_are_written() -> None:
    one = {"label_noise": Uniform((0.0, 0.4)), "momentum": Uniform((0.8, 0.95))}
    other = dict(reversed(one.items()))
    bases = (Task(), Task(width=3))
    first, second = (drawn(TaskSpace(bases, vary), 1)[0] for vary in (one, other))
    rng = np.random.default_rng(0)
    assert first.width == (32, 3)[rng.integers(2)]
    assert first.label_noise == rng.uniform(0.0, 0.4)
    assert first.momentum == rng.uniform(0.8, 0.95)
    assert first.seed == rng.integers(MIN_SEED, MAX_SEED)
    assert second.seed == first.seed
    assert second.label_noise != first.label_noise
    assert drawn(TaskSpace(bases, {**one, "width": Const(5)}), 1)[0] == replace(first, width=5)


def test_a_base_may_vary_in_ways_of_its_own() -> None:
    common = {"train_size": LogUniform((100, 400)), "label_noise": Choice((0.0, 0.3))}
    own = {"train_size": Const(7), "width": Choice((64, 128))}
    space = TaskSpace((Task(), Task(network="cnn3")), common, (1, 1), ({}, own))
    by_network = {name: [t for t in drawn(space, 200) if t.network == name] for name in ("mlp", "cnn3")}
    assert {task.train_size for task in by_network["cnn3"]} == {7}
    assert {task.width for task in by_network["cnn3"]} == {64, 128}
    assert {task.label_noise for task in by_network["cnn3"]} == {0.0, 0.3}
    assert {task.width for task in by_network["mlp"]} == {32}
    assert min(task.train_size for task in by_network["mlp"]) >= 100
    alone = TaskSpace((Task(), Task(network="cnn3")), common, (1, 1))
    first, second = (drawn(one, 200) for one in (space, alone))
    index = next(i for i, task in enumerate(second) if task.network == "cnn3")
    assert first[:index] == second[:index]  # bases without do as before
    assert {task.train_size for task in space.extremes()} == {100, 400, 7}
    assert [task.train_size for task in space.largest] == [400, 7]
    with pytest.raises(ValueError, match="own must have 2 mappings, one a base, got 1"):
        TaskSpace((Task(), Task()), common, (), ({},))


def test_ranges_are_uniform_in_what_they_say() -> None:
    space = TaskSpace(
        (Task(learning_rate=0.1),),
        {
            "train_size": LogUniform((100, 10_000)),
            "val_size": Uniform((100, 10_000)),
            "learning_rate": TimesLogUniform((0.25, 4.0)),
        },
    )
    tasks = drawn(space, 3000)
    assert np.median([task.train_size for task in tasks]) == pytest.approx(1000, rel=0.15)
    assert np.median([task.val_size for task in tasks]) == pytest.approx(5050, rel=0.05)
    assert np.median([task.learning_rate for task in tasks]) == pytest.approx(0.1, rel=0.1)
    assert min(task.learning_rate for task in tasks) < 0.03
    assert max(task.learning_rate for task in tasks) > 0.35


def test_weights_say_how_often_a_base_is_drawn() -> None:
    bases = tuple(Task(width=width) for width in (1, 2, 3))
    weighted = drawn(TaskSpace(bases, {"momentum": Uniform((0.1, 0.9))}, (3, 1, 2)), 1200)
    counts = [sum(task.width == width for task in weighted) for width in (1, 2, 3)]
    assert counts == pytest.approx([600, 200, 400], rel=0.15)
    repeated = tuple(bases[i] for i in (0, 0, 0, 1, 2, 2))
    assert drawn(TaskSpace(repeated, {"momentum": Uniform((0.1, 0.9))}), 1200) == weighted
    assert {task.width for task in drawn(TaskSpace(bases), 60)} == {1, 2, 3}


class Toy(MLP):
    name = "toy"
    options: ClassVar = {**MLP.options, "drop": Option(0.1, "of nothing", low=0.0, high=1.0)}


def test_one_option_of_the_network_can_vary() -> None:
    vary = {
        "network_options.depth": TimesLogUniform((0.5, 2.0)),
        "network_options.drop": Uniform((0, 1)),
        "network_options.activation": Choice(("relu", "gelu")),
    }
    with NETWORKS.temporarily("toy", Toy):
        options: Any = {"depth": 2, "drop": 0.5}
        bases = (
            Task(network="toy", network_options=options),
            Task(network="toy", network_options={**options, "depth": 4, "norm": "batch"}),
        )
        space = TaskSpace(bases, vary)
        for task in drawn(space, 100):
            options = dict(task.network_options)
            assert isinstance(options["depth"], int)
            assert 1 <= options["depth"] <= 8
            assert isinstance(options["drop"], float)
            assert options["activation"] in ("relu", "gelu")
            assert options.get("norm") in (None, "batch")
        depths = {dict(options)["depth"] for options in bounds(space)["network_options"]}
        assert depths == {1, 4, 2, 8}
        with pytest.raises(ValueError, match=r"base 1 must have a number for network_options\.depth"):
            TaskSpace((Task(network="toy"),), vary)
        with pytest.raises(ValueError, match=r"network_options and network_options\.depth cannot both vary"):
            TaskSpace(bases, {**vary, "network_options": Choice(({},))})
        with pytest.raises(
            ValueError, match=r"base 1: network_options: toy: drop must be a number from 0 to 1, got"
        ):
            TaskSpace(bases, {"network_options.drop": Uniform((0, 2))})
    both = {"network": Choice(("mlp", "cnn3")), "network_options.depth": Choice((2, 3))}
    with pytest.raises(ValueError, match="base 1: network_options: cnn3 has no option 'depth'"):
        TaskSpace((Task(),), both)


def test_bounds_and_extremes_have_both_ends_and_all_choices() -> None:
    space = TaskSpace(
        (Task(width=8, learning_rate=0.1), Task(width=9, learning_rate=0.01)),
        {
            "train_size": LogUniform((100.4, 999.6)),
            "label_noise": Choice((0.0, 0.2, 0.4)),
            "learning_rate": TimesLogUniform((0.5, 2.0)),
            "data": Choice(("cifar10", "cifar100")),
        },
    )
    found = bounds(space)
    assert list(found) == list(field_types())
    assert set(found["train_size"]) == {100, 1000}
    assert set(found["label_noise"]) == {0.0, 0.2, 0.4}
    assert set(found["learning_rate"]) == {0.05, 0.2, 0.005, 0.02}
    assert set(found["data"]) == {"cifar10", "cifar100"}
    assert set(found["width"]) == {8, 9}
    assert found["steps"] == (300,)
    assert len(space.extremes()) == 2 * 3
    tasks = (Task(), Task(width=3), Task(width=3, seed=1))
    assert bounds(TaskList(tasks))["width"] == (32, 3)
    assert TaskList(tasks).extremes() == tasks


def test_the_largest_tasks_are_those_that_want_the_most_images() -> None:
    vary = {"train_size": LogUniform((10, 200)), "val_size": Choice((60, 5))}
    space = TaskSpace((Task(), Task(width=3)), vary)
    assert space.largest == (Task(train_size=200, val_size=60), Task(width=3, train_size=200, val_size=60))
    mixed = TaskSpace((Task(),), {**vary, "data": Choice(("cifar10", "cifar100"))})
    assert [(task.data, task.train_size) for task in mixed.largest] == [("cifar10", 200), ("cifar100", 200)]
    assert TaskSpace((Task(), Task())).largest == (Task(),)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bases": ()}, "at least one base task"),
        ({"bases": ({"width": 3},)}, "at least one base task, got .*width"),
        ({"vary": {"widht": Const(3)}}, "unknown field widht to vary; allowed are network, "),
        ({"vary": {3: Const(3)}}, "unknown field 3 to vary"),
        ({"vary": {"width.depth": Const(3)}}, r"unknown field width\.depth to vary"),
        ({"vary": {"network_options.": Const(3)}}, "unknown field network_options"),
        ({"vary": {"seed": Choice((1, 2))}}, "the seed cannot be varied"),
        ({"vary": {"width": 3}}, "width must vary by one of const, choice, uniform, .*; got 3"),
        ({"vary": {"network": Uniform((1, 2))}}, "network cannot vary over a range; give a choice"),
        ({"vary": {"resolution": Uniform((16, 32))}}, "resolution cannot vary over a range"),
        ({"vary": {"augment": Uniform((0, 1))}}, "augment cannot vary over a range"),
        ({"vary": {"data": LogUniform((1, 2))}}, "data cannot vary over a range"),
        ({"vary": {"width": Uniform((0, 5))}}, "base 1: width must be a whole number between 1 and"),
        ({"vary": {"width": Choice((3, 4.5, 6))}}, "base 1: width must be .*, got 4.5"),
        ({"vary": {"label_noise": Uniform((0, 1))}}, "base 1: label_noise must be between 0 and 0.95, got 1"),
        ({"vary": {"learning_rate": TimesLogUniform((1, 1e9))}}, "base 1: learning_rate must be between"),
        ({"vary": {"decisions": Uniform((5, 301))}}, "base 1: decisions=301 must be at most steps=300"),
        (
            {
                "vary": {"steps": Uniform((10, 100)), "decisions": Uniform((5, 20))}
            },  # only one corner is wrong
            "base 1: decisions=20 must be at most steps=10",
        ),
        (
            {"vary": {"decay": Choice(("coupled", "decoupled")), "penalty": Choice(("l1", "l2"))}},
            "base 1: decay=decoupled is defined for penalty=l2 only, got penalty=l1",
        ),
        ({"own": ({"widht": Const(3)},)}, "unknown field widht to vary"),
        ({"own": ({"width": Uniform((0, 5))},)}, "base 1: width must be a whole number between 1 and"),
        (
            {"vary": {"network_options": Choice(({},))}, "own": ({"network_options.depth": Const(3)},)},
            "network_options and network_options.depth cannot both vary",
        ),
        ({"weights": (1, 2)}, "weights must be 1 whole numbers"),
        ({"weights": (0,)}, r"from 1 to 1,000,000, one a base, got \(0,\)"),
        ({"weights": (True,)}, "weights must be"),
        ({"weights": (1.5,)}, "weights must be"),
        ({"vary": {"width": Choice((1, 2) * 60_000)}}, "more than 100,000 combinations"),
    ],
)
def test_what_cannot_be_drawn_is_refused_when_it_is_written(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        TaskSpace(**{"bases": (Task(),), **options})
    assert "\n" not in str(caught.value)


def test_fields_that_depend_on_each_other_may_vary_together() -> None:
    """Whether a value fits depends on the others that are drawn, not on the base alone."""
    space = TaskSpace((Task(),), {"steps": Choice((5, 10)), "decisions": Choice((2, 5))})
    assert {(task.steps, task.decisions) for task in drawn(space, 60)} == {(5, 2), (5, 5), (10, 2), (10, 5)}


@pytest.mark.parametrize("kind", [Uniform, LogUniform, TimesLogUniform])
@pytest.mark.parametrize(
    "limits",
    [(2, 1), (1,), (1, 2, 3), "12", 3, None, (1, "2"), (True, 2), (1, float("nan")), (1, float("inf"))],
)
def test_limits_are_two_numbers_the_smaller_one_first(kind: type[Any], limits: Any) -> None:
    with pytest.raises(ValueError, match=r"must be two (finite )?numbers"):
        kind(limits)


def test_limits_of_a_logarithm_are_above_0() -> None:
    for kind in (LogUniform, TimesLogUniform):
        with pytest.raises(ValueError, match="two numbers above 0"):
            kind((0, 1))
    assert Uniform((-1, 0)).ends(None) == (-1, 0)
    assert LogUniform((3, 3)).draw(np.random.default_rng(0), None) == pytest.approx(3)


def test_another_way_to_vary_is_a_class_and_a_registration() -> None:
    class Doubled:
        numeric = False

        def draw(self, rng: np.random.Generator, base: Any) -> Any:
            return 2 * base

        def ends(self, base: Any) -> tuple[Any, ...]:
            return (2 * base,)

    with pytest.raises(ValueError, match="width must vary by one of"):
        TaskSpace((Task(),), {"width": Doubled()})
    with VARIATIONS.temporarily("doubled", Doubled):
        assert drawn(TaskSpace((Task(width=8),), {"width": Doubled()}), 1)[0].width == 16


def test_a_choice_has_values() -> None:
    for values in ((), [], "ab", {1, 2}, range(3), None):
        with pytest.raises(ValueError, match="must be a list of at least one value"):
            Choice(values)  # type: ignore[arg-type]


def test_a_list_is_drawn_from_evenly_and_named() -> None:
    tasks = load_suite("quick-validation").source
    assert isinstance(tasks, TaskList)
    rng = np.random.default_rng(2)
    names = [tasks.sample(rng).name for _ in range(600)]
    assert set(names) == set(tasks.names)
    assert min(names.count(name) for name in set(names)) > 60
    with pytest.raises(ValueError, match="at least one task"):
        TaskList(())
    with pytest.raises(ValueError, match="at least one task, got"):
        TaskList(("mlp",))  # type: ignore[arg-type]


def test_a_space_is_a_value() -> None:
    space = load_suite("cifar-mixed").source
    again = pickle.loads(pickle.dumps(space))
    assert again == space
    assert drawn(again, 3) == drawn(space, 3)  # type: ignore[arg-type]
    assert space.names == []
