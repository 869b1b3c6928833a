"""Tuning of hand-designed schedules: enough settings, training side only, the best one chosen."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from comparisons import SUITE, judge

from lambda_rl.agents.baselines import (
    BASELINES,
    CONSTANT_GRID,
    Baseline,
    Judge,
    Played,
    Tuned,
    hand_designed_families,
    make_schedule,
    tune,
    tuning_settings,
)
from lambda_rl.agents.baselines.tuning import FIRST_TUNING_SEED
from lambda_rl.envs.data import load_train
from lambda_rl.envs.judging import RunResult, ScheduleJob
from lambda_rl.envs.tasks.suites import load_suite

TUNING_SUITE = dataclasses.replace(SUITE, name="tiny-validation", fold="agent")
FEW = {
    "constant": ["constant:0.01", "constant:0.1"],
    **{name: [BASELINES[name].untuned] for name in hand_designed_families()},
}


def tuning_judge() -> Judge:
    return judge("agent", test=False)


def test_every_family_has_enough_settings_that_parse() -> None:
    families = tuning_settings()
    assert set(families) == {"constant", *hand_designed_families()}
    assert len(families["constant"]) >= 9
    assert all(len(specs) >= 16 for name, specs in families.items() if name != "constant")
    for name, specs in families.items():
        assert len(set(specs)) == len(specs)
        assert all(spec.startswith(f"{name}:") for spec in specs)
        for spec in [*specs, BASELINES[name].untuned]:
            make_schedule(spec)


def test_fewer_settings_on_request() -> None:
    families = tuning_settings(most=5)
    assert {len(specs) for name, specs in families.items() if name != "constant"} == {5}
    assert all(
        set(specs) < set(BASELINES[name].grid()) for name, specs in families.items() if name != "constant"
    )
    assert len(families["constant"]) == len(CONSTANT_GRID)


@pytest.mark.parametrize("grid", [(), (-0.1,), (float("nan"),)])
def test_bad_grids_are_refused(grid: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="constants"):
        tuning_settings(grid)


def test_tunes_and_comes_back_from_its_file(tmp_path: Path) -> None:
    train = load_train("synthetic")
    calls: list[tuple[int, int]] = []
    tuned = tune(
        TUNING_SUITE, tuning_judge(), settings=FEW, progress=lambda done, total: calls.append((done, total))
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


def played(job: ScheduleJob, accuracy: float) -> Played:
    nan = float("nan")
    result = RunResult(job.task, job.name, nan, nan, accuracy, 1.0, 0.0, 1.0, False, {})
    return Played(str(job.key), result, job.name, 1, job.task.steps, 0.5)


def test_chooses_the_best_by_outer_accuracy() -> None:
    class Fixed(Judge):
        """One constant is good, and the gap rule never finite."""

        def __call__(self, jobs: Sequence[ScheduleJob], progress: object = None) -> list[Played]:
            good = {"constant:0.1": 0.9, FEW["gap"][0]: float("nan")}
            return [played(job, good.get(job.name, 0.2)) for job in jobs]

    tuned = tune(TUNING_SUITE, Fixed(load_train("synthetic"), "agent"), settings=FEW)
    assert tuned.best("constant") == "constant:0.1"
    assert tuned.families["constant"][0].score == pytest.approx(90)
    assert tuned.families["gap"][0].score == 0
    assert tuned.seconds == 7 * 4 * 0.5
    with pytest.raises(ValueError, match="warm is not among the tuned families"):
        tuned.best("warm")


def test_only_lists_of_the_training_side_and_a_judge_that_sees_no_more() -> None:
    with pytest.raises(ValueError, match="distribution"):
        tune(load_suite("quick"), tuning_judge())
    with pytest.raises(ValueError, match="fold held-out"):
        tune(load_suite("quick-held-out"), tuning_judge())
    for seeing in (judge("held-out", test=False), judge("agent")):
        with pytest.raises(ValueError, match="no test images"):
            tune(TUNING_SUITE, seeing)
    with pytest.raises(ValueError, match="at least 1 seed"):
        tune(TUNING_SUITE, tuning_judge(), seeds=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not a file of tuned schedules"),
        ("[]", "not a file of tuned schedules"),
        ('{"format_version": 99}', "format version 99"),
        ('{"format_version": 1, "families": {}}', "families missing"),
        (
            '{"format_version": 1, "families": {"gap": [{"spec": "gap:x=1", "score": 1, "diverged": 0}]}}',
            "gap",
        ),
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


def test_a_file_from_before_a_family_came_is_read(tmp_path: Path) -> None:
    class New(Baseline):
        name = "new"
        untuned = "constant:0.1"

        def grid(self) -> list[str]:
            return ["constant:0.1"]

    path = tmp_path / "tuned.json"
    tune(TUNING_SUITE, tuning_judge(), seeds=1, settings={"constant": ["constant:0.1"]}).save(path)
    with BASELINES.temporarily("new", New()):
        assert Tuned.load(path).best("constant") == "constant:0.1"


def test_a_mismatch_is_a_warning() -> None:
    train = load_train("synthetic")
    tuned = tune(TUNING_SUITE, tuning_judge(), seeds=1, settings={"constant": ["constant:0.1"]})
    assert tuned.warnings(TUNING_SUITE, train) == []
    other = dataclasses.replace(tuned, networks=["cnn3"], fingerprint="0")
    assert len(other.warnings(TUNING_SUITE, train)) == 2
    assert json.loads(json.dumps(dataclasses.asdict(tuned)))["suite"] == "tiny-validation"
