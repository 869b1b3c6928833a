"""Suite files that anybody can bring: lists, distributions, errors, and files that mean harm."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lambda_rl.envs.tasks.space import TaskList, TaskSpace
from lambda_rl.envs.tasks.suites import BUILTIN, load_suite, suite_names
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.tasks.variations import Choice, Const, LogUniform, TimesLogUniform, Uniform


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


# Lists


def test_a_list_with_defaults(tmp_path: Path) -> None:
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
    assert load_suite(written(tmp_path, "name: 2024\ntasks: [{}]")).name == "2024"


def test_a_grid_has_every_combination_and_the_last_field_changes_fastest(tmp_path: Path) -> None:
    suite = load_suite(
        written(tmp_path, "defaults: {width: 8}\ngrid: {train_size: [500, 700], label_noise: [0, 0.2]}")
    )
    expected = [
        Task(width=8, train_size=size, label_noise=noise) for size in (500, 700) for noise in (0.0, 0.2)
    ]
    assert list(suite.tasks) == expected
    suite = load_suite(written(tmp_path, "tasks: [{width: 3}, {width: 4}]\ngrid: {label_noise: [0, 0.2]}"))
    assert [(task.width, task.label_noise) for task in suite.tasks] == [(3, 0), (3, 0.2), (4, 0), (4, 0.2)]


def test_tasks_of_built_in_lists_are_included_first(tmp_path: Path) -> None:
    suite = load_suite(
        written(tmp_path, "include: [quick-held-out, cifar-cnn-validation]\ntasks: [{width: 3}]")
    )
    included = load_suite("quick-held-out").tasks + load_suite("cifar-cnn-validation").tasks
    assert suite.tasks == (*included, Task(width=3))
    assert suite.fold == "held-out"  # a user's list always is, whatever it includes
    assert load_suite(written(tmp_path, "include: [quick-held-out]")).tasks == included[:6]


def test_options_and_data_sets_can_be_named(tmp_path: Path) -> None:
    (task,) = load_suite(
        written(tmp_path, "tasks: [{data: 'folder:my/images', network_options: {depth: 2, norm: batch}}]")
    ).tasks
    assert task.data == "folder:my/images"
    assert task.network_options == (("depth", 2), ("norm", "batch"))


# Distributions


def test_a_distribution_trains_on_the_images_of_the_agent(tmp_path: Path) -> None:
    suite = load_suite(
        written(
            tmp_path,
            """
            defaults: {network: mlp, network_options: {depth: 2}}
            bases: [{width: 32}, {width: 64, learning_rate: 3e-2}]
            weights: [3, 1]
            vary:
              train_size: {log-uniform: [300, 4800]}
              label_noise: {choice: [0, 0.2]}
              momentum: {uniform: [0.8, 0.95]}
              learning_rate: {times-log-uniform: [0.5, 2]}
              network_options.depth: {uniform: [1, 4]}
              data: {choice: [cifar10, cifar100]}
              steps: 200
              optimizer: {const: adamw}
            """,
        )
    )
    bases = (
        Task(network_options={"depth": 2}),  # type: ignore[arg-type]
        Task(width=64, learning_rate=0.03, network_options={"depth": 2}),  # type: ignore[arg-type]
    )
    vary = {
        "train_size": LogUniform((300, 4800)),
        "label_noise": Choice((0, 0.2)),
        "momentum": Uniform((0.8, 0.95)),
        "learning_rate": TimesLogUniform((0.5, 2)),
        "network_options.depth": Uniform((1, 4)),
        "data": Choice(("cifar10", "cifar100")),
        "steps": Const(200),
        "optimizer": Const("adamw"),
    }
    assert suite.source == TaskSpace(bases, vary, (3, 1))
    assert list(suite.source.vary) == list(vary)  # the order of drawing
    assert (suite.name, suite.fold, suite.tasks) == ("mine", "agent", ())
    assert suite.datasets == ("cifar10", "cifar100")
    task = suite.sample(np.random.default_rng(0))
    assert (task.steps, task.optimizer) == (200, "adamw")


def test_one_base_need_not_be_written(tmp_path: Path) -> None:
    suite = load_suite(written(tmp_path, "defaults: {width: 8}\nvary: {momentum: {uniform: [0.1, 0.2]}}"))
    assert suite.source == TaskSpace((Task(width=8),), {"momentum": Uniform((0.1, 0.2))})
    assert load_suite(written(tmp_path, "bases: [{width: 8}]")).source == TaskSpace((Task(width=8),))


# Errors


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must be a mapping with `tasks:` or `bases:`, got NoneType"),
        ("- {width: 3}", "must be a mapping with `tasks:` or `bases:`, got list"),
        ("tasks: [", "not valid YAML"),
        (
            "tasks: [{}]\ntask: 3",
            "unknown field task; allowed are name, defaults, include, tasks, grid, bases",
        ),
        ("tasks: [{}]\nfold: agent", "unknown field fold; allowed are name, defaults"),
        ("bases: [{}]\nfold: held-out", "unknown field fold"),
        ("defaults: {width: 3}", "`tasks:` must be a list of at least one task"),
        ("tasks: []", "`tasks:` must be a list of at least one task"),
        ("tasks: {width: 3}", "`tasks:` must be a list of at least one task"),
        ("defaults: [1]\ntasks: [{}]", "`defaults:` must be a mapping of task fields"),
        ("tasks: [{}, 7]", "task 2: must be a mapping of task fields, got 7"),
        ("tasks: [{}, {widht: 7}]", "task 2: unknown field widht; allowed are network, width"),
        ("defaults: {lr: 3}\ntasks: [{}]", "task 1: unknown field lr; allowed are"),
        ("tasks: [{width: 0}]", "task 1: width must be a whole number between 1 and .*, got 0"),
        (
            "tasks: [{resolution: 16.0}]",
            "task 1: resolution must be a whole number between 1 and 512, got 16.0",
        ),
        ("tasks: [{penalty: l7}]", r"task 1: penalty must be one of l2, l1, l0\.5; got 'l7'"),
        ("tasks: [{learning_rate: fast}]", "task 1: learning_rate must be a finite number, got 'fast'"),
        ("tasks: [{learning_rate: true}]", "task 1: learning_rate must be a finite number, got True"),
        ("tasks: [{learning_rate: .inf}]", "task 1: learning_rate must be a finite number, got inf"),
        ("tasks: [{augment: 'no'}]", "task 1: augment must be true or false"),
        ("tasks: [{width: 0, label_noise: 2}]", "task 1: width must be .*; label_noise must be"),
        (
            "tasks: [{}]\nbases: [{}]",
            r"a suite is a list \(`tasks:`\) or a distribution \(`bases:`\), not both",
        ),
        ("include: [quick]\nvary: {}", r"a suite is a list \(`include:`\) or a distribution \(`vary:`\)"),
        ("grid: {}\ntasks: [{}, 3]", "task 2: must be a mapping"),
        ("grid: []", "`grid:` must be a mapping of task fields"),
        ("grid: {}", "`tasks:` must be a list of at least one task"),
        ("grid: {width: 3}", "`grid:` width must be a list of at least one value, got 3"),
        ("grid: {width: []}", "`grid:` width must be a list of at least one value"),
        ("grid: {width: [3, 0]}", "task 1 with width=0: width must be a whole number"),
        ("grid: {widht: [3]}", "task 1 with widht=3: unknown field widht"),
        ("grid: {width: [3]}\ntasks: [{}, {width: 4}]", "task 2: width stands in `grid:` too"),
        ("include: quick", "`include:` must be a list of at least one name"),
        ("include: [3]", "`include:` must have names of built-in lists, got 3"),
        (
            "include: [other.yaml]",
            "`include:` 'other.yaml' is not one of any-loop, any-loop-narrow, any-loop-narrow-validation",
        ),
        (
            "include: [quick]",
            "`include:` suite quick is a distribution .* needs a list of tasks, as quick-held",
        ),
        ("bases: []", "`bases:` must be a list of at least one mapping"),
        ("bases: {width: 3}", "`bases:` must be a list of at least one mapping"),
        ("bases: [{}, 3]", "base 2: must be a mapping of task fields, got 3"),
        ("bases: [{}, {width: 0}]", "base 2: width must be a whole number"),
        ("bases: [{}]\nweights: 3", "`weights:` must be a list of whole numbers, got 3"),
        ("bases: [{}]\nweights: [1, 2]", "weights must be 1 whole numbers"),
        (
            "weights: [1]\nvary: {width: {choise: [1, 2]}}",
            "`vary:` width: unknown way to vary 'choise'; allowed",
        ),
        ("vary: [width]", "`vary:` must be a mapping of task fields"),
        (
            "vary: {width: [1, 2]}",
            r"`vary:` width: a list must stand behind a word, as in {choice: \[1, 2\]}",
        ),
        ("vary: {width: {choice: []}}", "`vary:` width: choice must be a list of at least one value"),
        (
            "vary: {width: {uniform: [2, 1]}}",
            "`vary:` width: uniform must be two numbers, the smaller one first",
        ),
        ("vary: {width: {log-uniform: 3}}", "`vary:` width: log-uniform must be two finite numbers, got 3"),
        ("vary: {width: {uniform: [1, 2], choice: [1]}}", "`vary:` width: must be a mapping of one word"),
        ("vary: {width: {}}", "`vary:` width: must be a mapping of one word"),
        ("vary: {width: {uniform: [0, 3]}}", "base 1: width must be a whole number between 1 and"),
        ("vary: {widht: 3}", "unknown field widht to vary"),
        ("vary: {seed: 3}", "the seed cannot be varied"),
        ("name: [a]\ntasks: [{}]", r"`name:` must be a text, got \['a'\]"),
        ("name: true\ntasks: [{}]", "`name:` must be a text, got True"),
        # R20
        ("name: ../../x\ntasks: [{}]", "the name of a suite must have no / .*got '../../x'"),
        ("tasks: [{steps: 1000000000000000000}]", "steps must be a whole number between 1 and 10,000,000"),
        ("tasks: [{width: 1000000000}]", "width must be a whole number between 1 and 65,536, got 1000000000"),
        ("tasks: [{width: 3, width: 4}]", "not valid YAML: the key width is there twice"),
        ("tasks: [{}]\ntasks: [{}]", "not valid YAML: the key tasks is there twice"),
        ("tasks: [{train_size: 0400}]", "train_size must be a whole number between .*, got '0400'"),
        ("tasks: [{steps: 5:00}]", "steps must be a whole number between .*, got '5:00'"),
        ("tasks: [{learning_rate: 0400}]", "learning_rate must be a finite number, got '0400'"),
        ("tasks: [{steps: 0x10}]", "steps must be a whole number between .*, got '0x10'"),
        # R42
        ('name: "\\ud83e\\udd8a"\ntasks: [{}]', "the name of a suite must be 1 to 100 printable characters"),
        ('tasks: [{data: "folder:\\ud83e"}]', "data must be empty or one of"),
        # R19
        ("tasks: " + "[" * 900 + "]" * 900, "not valid YAML: nested more than 12 deep"),
        ("tasks: " + "{a: " * 5000 + "1" + "}" * 5000, "not valid YAML: nested more than 12 deep"),
        ("- " * 100_000 + "1", "not valid YAML: nested more than 12 deep"),
        ("tasks: [{learning_rate: " + "9" * 400 + "}]", "learning_rate must be a finite number, got "),
        ("tasks: [{seed: " + "1" * 5000 + "}]", "seed must be a whole number between "),
        ("tasks: [{initial_lam: 1e999}]", "initial_lam must be a finite number, got inf"),
        # tags, which could make objects or fail in their own ways
        ("tasks: !!python/object/apply:os.getcwd []", "not valid YAML: tags are not allowed: .*os.getcwd"),
        ("tasks: [{width: !!int abc}]", "not valid YAML: tags are not allowed"),
        ("tasks: [{width: !!timestamp abc}]", "not valid YAML: tags are not allowed"),
        ("tasks: [!!set {a, b}]", "not valid YAML: tags are not allowed"),
        ("? [a, b]\n: 3", "not valid YAML: a key must be a text"),
        ("grid: {width: [" + "1, " * 200 + "], steps: [" + "20, " * 100 + "]}", "20,000 tasks are more than"),
    ],
)
def test_errors_name_the_file_and_the_place(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ValueError, match=message) as caught:
        load_suite(path)
    told = str(caught.value)
    assert told.startswith(f"suite file {path}")
    assert "\n" not in told
    assert len(told) < 1000 + len(str(path))
    told.encode()


def bomb(key: str, levels: int = 8) -> str:
    """Anchors of lists of nine aliases each: 9^levels elements in a few lines."""
    lines = ["a0: &a0 [" + ", ".join(["lol"] * 9) + "]"]
    lines += [f"a{i}: &a{i} [" + ", ".join([f"*a{i - 1}"] * 9) + "]" for i in range(1, levels)]
    return "\n".join([*lines, f"{key}: *a{levels - 1}"])


@pytest.mark.parametrize(
    "text",
    [
        bomb("name"),
        bomb("tasks"),
        bomb("width"),
        "defaults: &d {width: *d}\ntasks: [{}]",
        "tasks: &t [*t]",
        "tasks: [{}]\nx0: &x0 {a: 1}\n"
        + "\n".join(f"x{i}: &x{i} {{<<: [{', '.join([f'*x{i - 1}'] * 9)}]}}" for i in range(1, 9)),
    ],
)
def test_aliases_that_unfold_without_end_are_refused_at_once(tmp_path: Path, text: str) -> None:
    """R18: they took minutes and all memory, when the value was shown."""
    path = written(tmp_path, text)
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"not valid YAML: its aliases unfold to more than 100,000 values"):
        load_suite(path)
    assert time.monotonic() - started < 5


def test_a_bomb_that_is_small_enough_is_told_in_short(tmp_path: Path) -> None:
    path = written(tmp_path, bomb("name", 4).replace("a0:", "tasks: [{}]\na0:"))
    with pytest.raises(ValueError, match="unknown field a0, a1, a2, a3") as caught:
        load_suite(path)
    assert len(str(caught.value)) < 500
    item = "{width: &a [[1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], network: *a, network_options: {x: *a}}"
    with pytest.raises(ValueError, match=r"width must be .*\.\.\.") as caught:
        load_suite(written(tmp_path, f"tasks: [{item}]"))
    assert len(str(caught.value)) < 800


def test_aliases_that_save_writing_are_fine(tmp_path: Path) -> None:
    text = "tasks:\n  - &one {width: 3, steps: 20}\n  - {<<: *one, width: 4}\n  - *one"
    assert [(task.width, task.steps) for task in load_suite(written(tmp_path, text)).tasks] == [
        (3, 20),
        (4, 20),
        (3, 20),
    ]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("'1e-3'", 1e-3), ("1E-3", 1e-3), ("1", 1.0), (".5", 0.5), ("5_0.5", 50.5), ("+2.", 2.0),
        ("2.5e+1", 25.0),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(tmp_path: Path, text: str, value: float) -> None:
    (task,) = load_suite(written(tmp_path, f"tasks: [{{learning_rate: {text}}}]")).tasks
    assert task.learning_rate == value
    assert type(task.learning_rate) is float


def test_whole_numbers_and_truth_as_people_write_them(tmp_path: Path) -> None:
    text = "tasks: [{train_size: 20_000, seed: 0, augment: yes}, {augment: False}]"
    one, other = load_suite(written(tmp_path, text)).tasks
    assert (one.train_size, one.augment, other.augment) == (20_000, True, False)


def test_not_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"tasks: \xff\xfe\x00")
    with pytest.raises(ValueError, match=r"mine\.yaml: not valid YAML"):
        load_suite(path)


def test_neither_name_nor_file(tmp_path: Path) -> None:
    for name in ("cifar-mpl", str(tmp_path / "none.yaml"), str(tmp_path), "../builtin_suites/quick"):
        with pytest.raises(ValueError, match=r"is neither a file nor one of .*cifar-mlp.*quick") as caught:
            load_suite(name)
        assert repr(name) in str(caught.value)


def test_a_file_name_that_makes_no_name_can_be_given_another(tmp_path: Path) -> None:
    path = tmp_path / ".hidden.yaml"
    path.write_text("tasks: [{}]")
    with pytest.raises(
        ValueError, match=r"not start with a dot, got '.hidden'; `name:` in the file gives it another"
    ):
        load_suite(path)
    path.write_text("tasks: [{}]\nname: shown")
    assert load_suite(path).name == "shown"


def test_built_in_files_say_their_fold_and_are_called_as_their_suites() -> None:
    assert len(suite_names()) == 25
    for name in suite_names():
        text, suite = (BUILTIN / f"{name}.yaml").read_text(encoding="utf-8"), load_suite(name)
        assert f"\nfold: {suite.fold}\n" in text
        assert (suite.name, "\nname:" in text) == (name, False)
        listed = name.endswith(("-validation", "-held-out", "-fifth")) and not name.startswith("any-loop")
        assert isinstance(suite.source, TaskList) == listed
