"""Tasks: defaults, and an error for every field that names it and says what is allowed."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import pickle
from itertools import pairwise
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_rl.envs.networks import NETWORKS, Option
from lambda_rl.envs.networks.mlp import MLP
from lambda_rl.envs.tasks.task import Task, field_choices, task_help
from lambda_rl.penalties import PENALTIES

FIELDS = (
    "network", "width", "resolution", "train_size", "val_size", "label_noise", "optimizer", "learning_rate",
    "lr_schedule", "momentum", "batch_size", "steps", "decisions", "penalty", "decay", "initial_lam", "augment",
    "pixels", "init_std", "lr_decay", "lr_decay_every", "warmup", "init_scale", "input_scale", "input_shift",
    "horizon", "lr_told", "initial_kappa", "data", "network_options", "seed",
)  # fmt: skip


def test_fields_are_those_of_a_suite_file_and_say_what_they_are() -> None:
    assert tuple(item.name for item in dataclasses.fields(Task)) == FIELDS
    rows = task_help()
    assert tuple(row.field for row in rows) == FIELDS
    documented = Task.__doc__ or ""
    for row in rows:
        assert len(row.meaning) > 5
        assert row.allowed
        assert f"    {row.field}: {row.meaning} ({row.allowed}).\n" in documented  # what --help reads
    told = {row.field: row for row in rows}
    assert told["width"][1:3] == ("32", "a whole number between 1 and 65,536")
    assert told["label_noise"][1:3] == ("0.0", "between 0 and 0.95")
    assert told["augment"][1:3] == ("false", "true or false")
    assert told["network"].allowed == "one of mlp, cnn3, resnet9"


def test_defaults_are_a_task() -> None:
    assert Task.from_mapping({}) == Task()
    assert Task.from_mapping(dataclasses.asdict(Task())) == Task()


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("network", "vgg", "one of mlp, cnn3, resnet9; got 'vgg'"),
        ("network", ["mlp"], "one of mlp, cnn3, resnet9"),
        ("resolution", 0, "whole number between 1 and 512, got 0"),
        ("resolution", 513, "whole number between 1 and 512, got 513"),
        ("resolution", 16.0, "whole number between 1 and 512, got 16.0"),
        ("resolution", True, "whole number between 1 and 512, got True"),
        ("optimizer", "rmsprop", "one of sgd, adamw"),
        ("lr_schedule", "poly", "one of constant, cosine, linear, exponential, step"),
        ("penalty", "l3", r"one of l2, l1, l0\.5"),
        ("decay", "both", "one of coupled, decoupled"),
        ("width", 0, "whole number between 1 and [0-9,]+, got 0"),
        ("train_size", 1.5, "whole number between 1 and [0-9,]+, got 1.5"),
        ("val_size", True, "whole number between 1 and [0-9,]+, got True"),
        ("batch_size", -3, "whole number between 1 and"),
        ("steps", "300", "whole number between 1 and [0-9,]+, got '300'"),
        ("decisions", None, "whole number between 1 and"),
        ("decisions", 301, "at most steps=300"),
        ("seed", -1, "whole number between 0 and"),
        ("label_noise", 0.96, "between 0 and 0.95, got 0.96"),
        ("label_noise", -0.1, "between 0 and 0.95"),
        ("label_noise", True, "finite number"),
        ("learning_rate", 0.0, "between 1e-08 and 10000"),
        ("learning_rate", math.inf, "finite number, got inf"),
        ("learning_rate", "fast", "finite number, got 'fast'"),
        ("learning_rate", "0400", "finite number, got '0400'"),
        ("learning_rate", "0x10", "finite number, got '0x10'"),
        ("learning_rate", True, "finite number, got True"),
        ("learning_rate", None, "finite number, got None"),
        ("momentum", 1.0, "between 0 and 0.9999"),
        ("momentum", math.nan, "finite number, got nan"),
        ("initial_lam", 0.0, "between 1e-12 and 1e"),
        ("initial_lam", "nan", "finite number, got 'nan'"),
        ("initial_lam", "1e999", "finite number, got inf"),
        ("augment", "yes", "true or false, got 'yes'"),
        ("augment", 1, "true or false"),
        ("pixels", "raw", "one of standardised, mean-subtracted; got 'raw'"),
        ("init_std", -0.1, "between 0 and 10"),
        ("init_std", "small", "finite number, got 'small'"),
        ("lr_decay", 0.0, "between 1e-06 and 1"),
        ("lr_decay", 1.1, "between 1e-06 and 1"),
        ("lr_decay_every", -1, "whole number between 0 and"),
        ("lr_decay_every", 2.5, "whole number between 0 and"),
        ("width", 10**9, "whole number between 1 and 65,536, got 1000000000"),
        ("steps", 10**18, "whole number between 1 and 10,000,000, got 1000000000000000000"),
        ("seed", 10**18, "whole number between 0 and"),
        ("data", "cifar", "empty or one of .*cifar10.*, got 'cifar'"),
        ("data", "folder:a\nb", "empty or one of "),
        ("data", "synthetic:x", "empty or one of .*synthetic:SEED.*, got 'synthetic:x'"),
        ("data", 3, "empty or one of .*, got 3"),
        ("network_options", {"a b": 1}, "a mapping of options to numbers"),
        ("network_options", {"a": [1]}, "a mapping of options to numbers"),
        ("network_options", {"a": math.nan}, "a mapping of options to numbers"),
        ("network_options", {"a": None}, "a mapping of options to numbers"),
        ("network_options", [["a", 1], ["a", 2]], "a mapping of options to numbers"),
        ("network_options", "depth", "a mapping of options to numbers"),
        ("network_options", 3, "a mapping of options to numbers"),
        ("network_options", {"norm": "x" * 201}, "a mapping of options to numbers"),
        ("network_options", {"x" * 41: 1}, "a mapping of options to numbers"),
        ("network_options", {"depht": 3}, "mlp has no option 'depht'; allowed: depth, activation, norm"),
        ("network_options", {"depth": 2.0}, "mlp: depth must be a whole number from 1 to 32, got 2.0"),
        ("network_options", {"depth": 33}, "mlp: depth must be a whole number from 1 to 32, got 33"),
    ],
)
def test_errors_name_the_field_and_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"{field}.* {allowed}") as caught:
        Task.from_mapping({field: value}, "my.yaml, task 3")
    assert str(caught.value).startswith(f"my.yaml, task 3: {field}")
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=f"^task: {field}"):
        Task(**{field: value})


def test_one_error_lists_all_faults() -> None:
    with pytest.raises(ValueError, match="label_noise") as caught:
        Task(network="vgg", label_noise=2, steps=True)
    assert str(caught.value) == (
        "task: network must be one of mlp, cnn3, resnet9; got 'vgg'; "
        "label_noise must be between 0 and 0.95, got 2; "
        "steps must be a whole number between 1 and 10,000,000, got True"
    )
    assert type(caught.value) is ValueError
    with pytest.raises(ValueError, match=r"^there: unknown field widht; allowed are .*; width must be "):
        Task.from_mapping({"widht": 3, "width": 0}, "there")
    with pytest.raises(
        ValueError, match="decisions=400 must be at most steps=300; decay=decoupled is defined"
    ):
        Task(decisions=400, penalty="l1", decay="decoupled")
    with pytest.raises(ValueError, match="unknown field widht; allowed are network, "):
        Task(widht=3)  # type: ignore[call-arg]


def test_errors_are_short_whatever_was_given() -> None:
    """R18: a list of lists of lists has more elements than can be written out; numbers may have any length."""
    bomb: list[Any] = ["lol"] * 9
    for _ in range(12):
        bomb = [bomb] * 9
    for value in (bomb, {"a": bomb}, "x" * 10**6, 10**5000, -(10**5000)):
        for field in FIELDS:
            with pytest.raises(ValueError, match=f"^here: {field} must be ") as caught:
                Task.from_mapping({field: value}, "here")
            assert len(str(caught.value)) < 400
    with pytest.raises(ValueError, match="unknown field ") as caught:
        Task.from_mapping({"\x1b[2J" + "x" * 10**5: 3})
    assert len(str(caught.value)) < 500
    assert "\x1b" not in str(caught.value)


def test_unknown_fields_are_named_with_those_allowed() -> None:
    with pytest.raises(
        ValueError, match=r"there: unknown field lr, widht; allowed are network, width, .*seed"
    ):
        Task.from_mapping({"widht": 3, "lr": 0.1}, "there")
    with pytest.raises(ValueError, match="unknown field 3"):
        Task.from_mapping({3: 4})  # type: ignore[dict-item]


@pytest.mark.parametrize("penalty", ["l1", "l0.5"])
def test_decoupled_is_for_l2(penalty: str) -> None:
    with pytest.raises(ValueError, match=f"decoupled is defined for penalty=l2 only, got penalty={penalty}"):
        Task(penalty=penalty, decay="decoupled")


def test_numbers_as_yaml_reads_them() -> None:
    task = Task.from_mapping({"learning_rate": "1e-3", "initial_lam": 1, "label_noise": 0, "momentum": "0.5"})
    assert (task.learning_rate, task.initial_lam, task.label_noise, task.momentum) == (1e-3, 1.0, 0.0, 0.5)
    assert all(type(getattr(task, n)) is float for n in ("initial_lam", "label_noise"))


def test_choices_are_asked_for_when_a_task_is_made() -> None:
    """A thing that is registered later is a choice at once, in errors and help too."""
    with PENALTIES.temporarily("toy", PENALTIES["l1"]):
        assert Task(penalty="toy").penalty == "toy"
        assert "toy" in field_choices("penalty")
        assert "toy" in {row.field: row for row in task_help()}["penalty"].allowed
        with pytest.raises(ValueError, match=r"penalty must be one of l2, .*toy; got 'l7'"):
            Task(penalty="l7")
        with pytest.raises(ValueError, match="decoupled is defined for penalty=l2 only, got penalty=toy"):
            Task(penalty="toy", decay="decoupled")
    with pytest.raises(ValueError, match="penalty must be one of"):
        Task(penalty="toy")


def test_fields_of_few_values() -> None:
    assert field_choices("pixels") == ("standardised", "mean-subtracted")
    assert field_choices("augment") == (False, True)
    assert (
        field_choices("resolution")
        == field_choices("width")
        == field_choices("data")
        == field_choices("network_options")
        == ()
    )


class Toy(MLP):
    name = "toy"
    options: ClassVar = {
        "depth": Option(2, "layers", low=1, high=9),
        "norm": Option("none", "of a layer", choices=("none", "batch")),
        "share": Option(0.1, "of nothing", low=0.0, high=1.0),
        "wide": Option(False, "or narrow"),
    }


def test_options_of_the_network_are_one_value_however_they_are_written() -> None:
    pairs = (("depth", 2), ("norm", "batch"), ("share", 0.5), ("wide", True))
    fields = {"network": "toy", "network_options": {"wide": True, "norm": "batch", "depth": 2, "share": 0.5}}
    with pytest.raises(ValueError, match="network must be one of mlp, cnn3, resnet9; got 'toy'"):
        Task.from_mapping(fields)
    with NETWORKS.temporarily("toy", Toy):
        task = Task.from_mapping(fields)
        assert task.network_options == pairs
        assert [type(value) for _, value in task.network_options] == [int, str, float, bool]
        for same in (pairs, list(map(list, reversed(pairs))), dict(pairs)):
            other = Task.from_mapping({"network": "toy", "network_options": same})
            assert other == task
            assert hash(other) == hash(task)
        assert Task.from_mapping(dataclasses.asdict(task)) == task
        assert Task.from_mapping(json.loads(json.dumps(dataclasses.asdict(task)))) == task
        assert task.name == "toy32-depth2-normbatch-share0.5-wideTrue-n5000-val1000"
        assert (
            "toy: depth, norm, share, wide"
            in {row.field: row for row in task_help()}["network_options"].allowed
        )
        with pytest.raises(ValueError, match="toy: wide must be true or false, got 1"):
            Task(network="toy", network_options={"wide": 1})  # type: ignore[arg-type]


def test_a_task_is_a_value() -> None:
    task = Task(network_options=(("depth", 2),), data="cifar10", learning_rate=1)
    assert type(task.learning_rate) is float
    assert pickle.loads(pickle.dumps(task)) == copy.deepcopy(task) == task
    assert hash(pickle.loads(pickle.dumps(task))) == hash(task)
    assert dataclasses.replace(task, width=3) != task
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.width = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="width must be"):
        dataclasses.replace(task, width=0)


def test_names() -> None:
    assert Task(data="folder:/somewhere/else").name == "mlp32-folder-n5000-val1000"
    assert Task().name == "mlp32-n5000-val1000"
    assert Task(network="cnn3", width=16, label_noise=0.25).name == "cnn316-n5000-noise0.25-val1000"
    assert Task().with_seed(7) == Task(seed=7)
    assert Task().with_seed(7).name == Task().name


@given(steps=st.integers(1, 2000), share=st.floats(0.0, 1.0))
def test_intervals_cover_the_run(steps: int, share: float) -> None:
    decisions = 1 + int(share * (steps - 1))
    task = Task(steps=steps, decisions=decisions)
    bounds = [task.boundary(k) for k in range(decisions + 1)]
    lengths = [b - a for a, b in pairwise(bounds)]
    assert (bounds[0], bounds[-1]) == (0, steps)
    assert min(lengths) >= 1
    assert max(lengths) - min(lengths) <= 1


def test_what_is_fused_is_alike_in_all_that_is_not_a_number_per_run() -> None:
    """Learning rate, momentum, λ, sizes and seeds may differ within a chunk; shapes and update rules may not."""
    base = Task()
    change: dict[str, Any]
    for change in ({"learning_rate": 0.1}, {"momentum": 0.5}, {"train_size": 10}, {"val_size": 5}, {"seed": 3},
                   {"label_noise": 0.3}, {"lr_schedule": "constant"}, {"initial_lam": 1.0}, {"init_std": 1e-4},
                   {"lr_decay": 0.5}, {"lr_decay_every": 7}, {"warmup": 0.1}, {"init_scale": 0.1},
                   {"horizon": 2.0}, {"lr_told": "nominal"}, {"initial_kappa": 1.0}):  # fmt: skip
        assert dataclasses.replace(base, **change).group_key == base.group_key, change
    for change in ({"network": "cnn3"}, {"width": 3}, {"resolution": 32}, {"batch_size": 3}, {"optimizer": "adamw"},
                   {"penalty": "l1"}, {"decay": "decoupled"}, {"augment": True},
                   {"pixels": "mean-subtracted"}, {"data": "cifar10"}, {"input_scale": 2.0}, {"input_shift": 1.0},
                   {"network_options": {"depth": 3}}):  # fmt: skip
        assert dataclasses.replace(base, **change).group_key != base.group_key, change
