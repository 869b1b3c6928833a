"""Tasks: defaults, and an error for every field that names it and says what is allowed."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_rl.envs.tasks import Task

FIELDS = (
    "network", "width", "resolution", "train_size", "val_size", "label_noise", "optimizer", "learning_rate",
    "lr_schedule", "momentum", "batch_size", "steps", "decisions", "penalty", "decay", "initial_lam", "augment",
    "pixels", "init_std", "lr_decay", "lr_decay_every",
)  # fmt: skip


def test_fields_are_those_of_a_suite_file() -> None:
    assert tuple(item.name for item in dataclasses.fields(Task)) == (*FIELDS, "seed")
    documented = Task.__doc__ or ""
    for name in FIELDS:
        assert f"        {name}: " in documented, name


def test_defaults_are_a_task() -> None:
    assert Task.from_mapping({}) == Task()
    assert Task.from_mapping(dataclasses.asdict(Task())) == Task()


@pytest.mark.parametrize(
    ("field", "value", "allowed"),
    [
        ("network", "vgg", "one of mlp, cnn3, resnet9; got 'vgg'"),
        ("network", ["mlp"], "one of mlp, cnn3, resnet9"),
        ("resolution", 28, "one of 16, 32; got 28"),
        ("resolution", 16.0, "whole number"),
        ("optimizer", "rmsprop", "one of sgd, adamw"),
        ("lr_schedule", "linear", "one of constant, cosine, exponential, step"),
        ("penalty", "l3", r"one of l2, l1, l0\.5"),
        ("decay", "both", "one of coupled, decoupled"),
        ("width", 0, "whole number of at least 1, got 0"),
        ("train_size", 1.5, "whole number of at least 1, got 1.5"),
        ("val_size", True, "whole number of at least 1, got True"),
        ("batch_size", -3, "whole number of at least 1"),
        ("steps", "300", "whole number of at least 1, got '300'"),
        ("decisions", None, "whole number of at least 1"),
        ("decisions", 301, "at most steps=300"),
        ("seed", -1, "whole number of at least 0"),
        ("label_noise", 0.96, "between 0 and 0.95, got 0.96"),
        ("label_noise", -0.1, "between 0 and 0.95"),
        ("label_noise", True, "finite number"),
        ("learning_rate", 0.0, "between 1e-08 and 10000"),
        ("learning_rate", math.inf, "finite number, got inf"),
        ("learning_rate", "fast", "number, got 'fast'"),
        ("learning_rate", True, "finite number, got True"),
        ("learning_rate", None, "finite number, got None"),
        ("momentum", 1.0, "between 0 and 0.9999"),
        ("momentum", math.nan, "finite number, got nan"),
        ("initial_lam", 0.0, "between 1e-12 and 1e"),
        ("initial_lam", "nan", "finite number"),
        ("augment", "yes", "true or false, got 'yes'"),
        ("augment", 1, "true or false"),
        ("pixels", "raw", "one of standardised, mean-subtracted; got 'raw'"),
        ("init_std", -0.1, "between 0 and 10"),
        ("init_std", "small", "number, got 'small'"),
        ("lr_decay", 0.0, "between 1e-06 and 1"),
        ("lr_decay", 1.1, "between 1e-06 and 1"),
        ("lr_decay_every", -1, "whole number of at least 0"),
        ("lr_decay_every", 2.5, "whole number of at least 0"),
    ],
)
def test_errors_name_the_field_and_what_is_allowed(field: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=rf"{field}.* {allowed}") as caught:
        Task.from_mapping({field: value}, "my.yaml, task 3")
    assert str(caught.value).startswith("my.yaml, task 3: ")
    assert "\n" not in str(caught.value)


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


def test_names() -> None:
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
                   {"lr_decay": 0.5}, {"lr_decay_every": 7}):  # fmt: skip
        assert dataclasses.replace(base, **change).group_key == base.group_key, change
    for change in ({"network": "cnn3"}, {"width": 3}, {"resolution": 32}, {"batch_size": 3}, {"optimizer": "adamw"},
                   {"penalty": "l1"}, {"decay": "decoupled"}, {"augment": True},
                   {"pixels": "mean-subtracted"}):  # fmt: skip
        assert dataclasses.replace(base, **change).group_key != base.group_key, change
