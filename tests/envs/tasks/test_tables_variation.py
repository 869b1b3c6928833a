"""Tasks on tables that are drawn afresh, and the suites that do so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lambda_rl.envs.data import data_set
from lambda_rl.envs.data.tables import TABLES
from lambda_rl.envs.tasks.suites import TaskSpace, load_suite
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.tasks.variations import Choice, Tables

GIVEN: dict[str, Any] = {
    "kinds": ["tree", "tree", "signal"], "inputs": [8, 64], "classes": [2, 10], "rows": 1000, "seeds": [5, 50],
}  # fmt: skip
TABLE = Task(resolution=1, data="table:sparse:8x2x1000:0", train_size=100, val_size=20)


def drawn(space: TaskSpace, count: int = 300) -> list[Task]:
    rng = np.random.default_rng(0)
    return [space.sample(rng) for _ in range(count)]


def test_tables_are_drawn_within_their_ranges() -> None:
    found = [data_set(task.data) for task in drawn(TaskSpace((TABLE,), {"data": Tables(GIVEN)}))]
    kinds = [str(found_one.argument).partition(":")[0] for found_one in found]
    assert set(kinds) == {"tree", "signal"}
    assert 0.55 < kinds.count("tree") / len(kinds) < 0.78
    dims = [one.dimensions for one in found]
    inputs = np.array([dim.channels for dim in dims])
    assert inputs.min() == 8
    assert 60 <= inputs.max() <= 64
    assert 18 < np.median(inputs) < 28  # uniform in the logarithm
    assert {dim.num_classes for dim in dims} == set(range(2, 11))
    assert {dim.count for dim in dims} == {1000}
    seeds = {int(one.spec.rpartition(":")[2]) for one in found}
    assert (min(seeds), max(seeds)) == (5, 49)


def test_bases_that_name_no_table_keep_their_data() -> None:
    space = TaskSpace((TABLE, Task(), replace(Task(), data="cifar10")), {"data": Tables(GIVEN)})
    names = {task.data.partition(":")[0] for task in drawn(space)}
    assert names == {"table", "", "cifar10"}
    assert len(space.largest) == 4
    assert {task.data for task in space.largest} == {
        "table:tree:8x2x1000:5", "table:tree:64x10x1000:49", "", "cifar10",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kinds": []}, "kinds must be some of clusters, "),
        ({"kinds": ["oak"]}, "unknown kind of table 'oak'"),
        ({"inputs": [64, 8]}, "inputs must be two whole numbers, the smaller one first"),
        ({"inputs": [8.0, 64]}, "inputs must be two whole numbers"),
        ({"inputs": [1, 64]}, "inputs must be a whole number from 2 to 2,048, got 1"),
        ({"classes": [2, 101]}, "classes must be a whole number from 2 to 100, got 101"),
        ({"rows": 10}, "rows must be a whole number from 50"),
        ({"seeds": [5, 5]}, "seeds must be two numbers that differ"),
        ({"seed": 5}, "must be a mapping of kinds, inputs, classes, rows and seeds"),
    ],
)
def test_bad_arguments_are_told(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Tables({**GIVEN, **change})


def test_only_data_varies_so() -> None:
    with pytest.raises(ValueError, match="network cannot vary so; data can"):
        TaskSpace((TABLE,), {"network": Tables(GIVEN)})


def test_a_suite_file_says_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = (
        "bases: [{resolution: 1, train_size: 100, val_size: 20, data: 'table:tree:8x2x1000:0'}]\n"
        "vary: {data: {tables: %s}}"
    )
    path.write_text(text % "{kinds: [tree], inputs: [8, 9], classes: [2, 3], rows: 1000, seeds: [0, 9]}")
    suite = load_suite(path)
    assert suite.datasets == ()
    assert suite.sample(np.random.default_rng(0)).data.startswith("table:tree:")
    path.write_text(text % "{kinds: [tree], inputs: [8, 9], classes: [2, 3], rows: 1000}")
    with pytest.raises(ValueError, match="`vary:` data: tables must be a mapping of kinds"):
        load_suite(path)


def test_options_vary_where_the_network_has_them() -> None:
    bases = (Task(), Task(network="cnn3", width=4))
    space = TaskSpace(
        bases, {"network_options.depth": Choice((3, 4)), "network_options.norm": Choice(("batch",))}
    )
    for task in drawn(space, 40):
        assert set(dict(task.network_options)) == ({"depth", "norm"} if task.network == "mlp" else {"norm"})
    with pytest.raises(ValueError, match="base 1: network_options: mlp has no option 'dept'"):
        TaskSpace(bases, {"network_options.dept": Choice((3, 4))})


def test_the_broad_suites_draw_what_they_say() -> None:
    training, validation = (load_suite(f"any-loop{part}") for part in ("", "-validation"))
    found, seeds = [], []
    for suite in (training, validation):
        assert suite.fold == "agent"
        tasks = drawn(suite.source, 500)  # type: ignore[arg-type]
        tables = [task for task in tasks if task.data]
        assert 0.6 < len(tables) / len(tasks) < 0.95
        assert len({task.data for task in tables}) == len(tables)
        kinds = [task.data.split(":")[1] for task in tables]
        found.append({kind: kinds.count(kind) / len(tasks) for kind in set(kinds)})
        seeds.append({int(task.data.rpartition(":")[2]) for task in tables})
        assert {task.optimizer for task in tasks} >= {"sgd", "adamw", "adam"}
        epochs = np.array([task.steps * task.batch_size / task.train_size for task in tasks])
        assert 0.4 < np.mean((epochs > 10) & (epochs < 200)) < 0.9
        assert np.mean(epochs < 5) > 0.03  # runs that underfit
        assert np.mean([task.train_size < 100 for task in tasks]) > 0.03
        assert {task.initial_kappa for task in tasks} == {1.0}  # where a policy begins in a user's loop
        networks = [dict(task.network_options) for task in tasks]
        assert 0.2 < np.mean([options["norm"] != "none" for options in networks]) < 0.5
    assert set(found[0]) == {"clusters", "teacher", "tree", "rules"}
    assert set(found[1]) == set(TABLES)
    assert 0.35 < found[1]["signal"] + found[1]["sparse"] < 0.6
    assert max(seeds[0]) < min(seeds[1])


def test_one_base_of_the_broad_suite_is_as_a_user_of_cifar_has_it() -> None:
    tasks = drawn(load_suite("any-loop").source, 500)  # type: ignore[arg-type]
    alike = [
        task
        for task in tasks
        if (task.data, task.resolution, task.width, task.steps, task.batch_size) == ("", 16, 32, 300, 64)
        and dict(task.network_options) == {"depth": 2, "norm": "none", "activation": "relu"}
    ]
    assert 0.05 < len(alike) / len(tasks) < 0.15
    assert {task.label_noise for task in alike} == {0.0, 0.2, 0.4}
    assert max(task.train_size for task in alike) > 10_000
