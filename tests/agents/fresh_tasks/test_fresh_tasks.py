"""The command plays what is missing, once, and sums up what one works out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from lambda_rl import load_policy
from lambda_rl.agents.fresh_tasks.command import FreshConfig, run_fresh_tasks
from lambda_rl.agents.fresh_tasks.rows import CONSTANTS, Row, read_rows
from lambda_rl.agents.fresh_tasks.summary import FreshSummary, markdown, summarise
from lambda_rl.agents.warm_start.curves import kernel
from lambda_rl.policy.file import save_policy

ORIGIN = {"command": "by hand", "commit": "0", "hardware": "none"}


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., FreshConfig]:
    """Of a comparison that is done in seconds."""
    suite = tmp_path / "tiny.yaml"
    base = {"network": "mlp", "width": 8, "train_size": 200, "val_size": 100, "steps": 40, "decisions": 4,
            "resolution": 4}  # fmt: skip
    vary = {"label_noise": {"choice": [0.0, 0.4]}, "learning_rate": {"log-uniform": [0.05, 0.2]}}
    suite.write_text(yaml.safe_dump({"name": "tiny", "bases": [base], "vary": vary}))

    def made(**more: object) -> FreshConfig:
        given = {"policy": ("any-loop",), "suite": str(suite), "tasks": 2, "out": tmp_path / "out", **more}
        return FreshConfig(**given)  # type: ignore[arg-type]

    return made


def test_nothing_is_played_twice(options: Callable[..., FreshConfig], tmp_path: Path) -> None:
    run_fresh_tasks(options())
    rows = read_rows(tmp_path / "out" / "rows.csv")
    assert [row.contestant for row in rows if row.task == 1] == [*CONSTANTS, "any-loop"]
    run_fresh_tasks(options(tasks=3, max_change=(1.0,)))
    more = read_rows(tmp_path / "out" / "rows.csv")
    assert more[: len(rows)] == rows
    added = [(row.task, row.contestant) for row in more[len(rows) :] if row.contestant not in CONSTANTS]
    assert sorted(added) == [(0, "any-loop steps of 1"), (1, "any-loop steps of 1"),
                             (2, "any-loop"), (2, "any-loop steps of 1")]  # fmt: skip
    assert sum(row.contestant == CONSTANTS[0] for row in more) == 3
    summary = FreshSummary.load(tmp_path / "out" / "summary.json")
    assert (summary.tasks, list(summary.standings)) == (3, ["any-loop", "any-loop steps of 1"])
    run_fresh_tasks(options(tasks=3, max_change=(1.0,), measure=False))
    assert read_rows(tmp_path / "out" / "rows.csv") == more


def test_policies_of_run_folders_are_called_as_these(
    options: Callable[..., FreshConfig], tmp_path: Path
) -> None:
    files = [tmp_path / name / "policy.safetensors" for name in ("mine", "other")]
    for file in files:
        file.parent.mkdir()
        save_policy(file, load_policy("any-loop"))
    run_fresh_tasks(options(policy=tuple(map(str, files)), tasks=1))
    summary = FreshSummary.load(tmp_path / "out" / "summary.json")
    assert list(summary.standings) == ["mine", "other"]


def test_processes_do_not_change_a_number(options: Callable[..., FreshConfig], tmp_path: Path) -> None:
    run_fresh_tasks(options())
    run_fresh_tasks(options(out=tmp_path / "two", processes=2))
    assert read_rows(tmp_path / "two" / "rows.csv") == read_rows(tmp_path / "out" / "rows.csv")


def test_rows_come_to_what_one_works_out_by_hand() -> None:
    rng = np.random.default_rng(0)
    curves = rng.uniform(50.0, 60.0, (3, len(CONSTANTS)))
    first, second = np.array([55.0, 50.0, 60.0]), np.array([56.0, 52.0, 57.0])
    rows = [
        Row("here", 1, task, "images", "mlp", name, mark, float(value))
        for task in range(3)
        for name, mark, value in [
            *((name, "", value) for name, value in zip(CONSTANTS, curves[task], strict=True)),
            ("a", "fa", first[task]),
            ("b", "fb", second[task]),
        ]
    ]
    others = [Row("there", 1, 0, "images", "mlp", "a", "fa", 0.0), Row("here", 2, 0, "", "", "a", "fa", 0.0)]
    unfinished = [Row("here", 1, 9, "images", "mlp", "a", "fa", 0.0)]
    summary = summarise([*rows, *others, *unfinished], {"a": "fa", "b": "fb"}, "here", 1, ORIGIN)
    best = (curves @ kernel().T).max(1)
    assert summary.tasks == 3
    assert summary.standings["a"].regret == pytest.approx((best - first).mean())
    assert summary.standings["b"].minus_first == pytest.approx(0.0)
    low, high = summary.standings["b"].minus_first_interval
    assert low < 0.0 < high
    assert summary.no_penalty == pytest.approx((best - curves[:, 0]).mean())
    harm = curves[:, 0] - second
    assert summary.standings["b"].worse_than_none[0] == pytest.approx((harm > 1).mean())
    assert summary.standings["b"].worst_loss == pytest.approx(harm.max())
    assert "| `b` |" in markdown(summary)
    with pytest.raises(ValueError, match=r"no task of here \(seed 3\)"):
        summarise(rows, {"a": "fa"}, "here", 3, ORIGIN)


def test_bad_input_is_one_clear_error(options: Callable[..., FreshConfig], tmp_path: Path) -> None:
    for more, message in (
        ({"policy": ()}, "no policy is given"),
        ({"tasks": 0}, "--tasks must be"),
        ({"page": str(tmp_path / "none.md")}, "no such page"),
        ({"suite": "cifar-mlp-held-out"}, "is a list of tasks"),
        ({"measure": False}, "there is no task of"),
    ):
        with pytest.raises(ValueError, match=message):
            run_fresh_tasks(options(**more))
    save_policy(tmp_path / "any-loop.safetensors", load_policy("any-loop"))
    with pytest.raises(ValueError, match="same name"):
        run_fresh_tasks(options(policy=("any-loop", str(tmp_path / "any-loop.safetensors"))))
