"""Tuning of hand-designed schedules: enough settings, training side only, the best one chosen."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from lambda_rl.agents import tuning
from lambda_rl.agents.tuning import CONSTANT_GRID, FIRST_TUNING_SEED, UNTUNED, Tuned, family_settings, tune
from lambda_rl.envs.data import load_train
from lambda_rl.envs.rollout import RunResult, ScheduleJob
from lambda_rl.envs.suites import Suite, TaskList, load_suite
from lambda_rl.envs.tasks import Task
from lambda_rl.parse import parse_schedule

TASK = Task(width=4, train_size=64, val_size=40, steps=6, decisions=3, batch_size=16)
SUITE = Suite("tiny-validation", "agent", TaskList((TASK, dataclasses.replace(TASK, label_noise=0.4))))
FEW = {
    "constant": ["constant:0.01", "constant:0.1"],
    **{family: [spec] for family, spec in UNTUNED.items()},
}


def test_every_family_has_enough_settings_that_parse() -> None:
    families = family_settings()
    assert set(families) == {"constant", *UNTUNED}
    assert len(families["constant"]) >= 9
    assert all(len(specs) >= 16 for name, specs in families.items() if name != "constant")
    for specs in families.values():
        assert len(set(specs)) == len(specs)
        for spec in specs:
            parse_schedule(spec)


def test_fewer_settings_on_request() -> None:
    families = family_settings(most=5)
    assert {len(specs) for name, specs in families.items() if name != "constant"} == {5}
    assert len(families["constant"]) == len(CONSTANT_GRID)


@pytest.mark.parametrize("grid", [(), (-0.1,), (float("nan"),)])
def test_bad_grids_are_refused(grid: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="constants"):
        family_settings(grid)


def test_tunes_and_comes_back_from_its_file(tmp_path: Path) -> None:
    train = load_train("synthetic")
    calls: list[tuple[int, int]] = []
    tuned = tune(
        SUITE, train, seeds=2, settings=FEW, progress=lambda done, total: calls.append((done, total))
    )
    assert calls[-1] == (7 * 4, 7 * 4)
    assert tuned.inner_runs["constant"] == 2 * 4
    assert tuned.seeds == [FIRST_TUNING_SEED, FIRST_TUNING_SEED + 1]
    assert tuned.fingerprint == train.fingerprint
    scores = [setting.score for setting in tuned.families["constant"]]
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[0] <= 100
    tuned.save(tmp_path / "tuned.json")
    assert Tuned.load(tmp_path / "tuned.json") == tuned


def test_chooses_the_best_by_outer_accuracy_without_test(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = "constant:0.1"

    def fake(jobs: list[ScheduleJob], train: object, fold: str, **options: object) -> list[RunResult]:
        assert fold == "agent"
        assert options["test"] is None
        return [
            RunResult(
                job.task, job.name, float("nan"), float("nan"), 0.9 if job.name == wanted else 0.2, 1.0, 0.0, 1.0,
                False, {},
            )
            for job in jobs
        ]  # fmt: skip

    monkeypatch.setattr(tuning, "run_schedules", fake)
    tuned = tune(SUITE, load_train("synthetic"), settings=FEW)
    assert tuned.best("constant") == wanted
    assert tuned.families["constant"][0].score == pytest.approx(90)


def test_only_lists_of_the_training_side() -> None:
    train = load_train("synthetic")
    with pytest.raises(ValueError, match="distribution"):
        tune(load_suite("quick"), train)
    with pytest.raises(ValueError, match="fold held-out"):
        tune(load_suite("quick-held-out"), train)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a file of tuned schedules"),
        ("[]", "not a file of tuned schedules"),
        ('{"format_version": 99}', "format version 99"),
        ('{"format_version": 1, "families": {}}', "families missing"),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "tuned.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as error:
        Tuned.load(path)
    assert str(path) in str(error.value)
    with pytest.raises(FileNotFoundError):
        Tuned.load(tmp_path / "none.json")


def test_a_mismatch_is_a_warning(tmp_path: Path) -> None:
    train = load_train("synthetic")
    tuned = tune(SUITE, train, seeds=1, settings=FEW)
    assert tuned.warnings(SUITE, train) == []
    other = dataclasses.replace(tuned, networks=["cnn3"], fingerprint="0")
    assert len(other.warnings(SUITE, train)) == 2
    assert json.loads(json.dumps(dataclasses.asdict(tuned)))["suite"] == "tiny-validation"
