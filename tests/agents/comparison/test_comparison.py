"""The comparison itself: paired, complete, reproducible, each policy file read once, and open to new contestants."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from comparisons import OWN_SUITE, SUITE, TASK, judge, tuned_result, write_policy
from rich.console import Console
from tiny_policies import FACTS

from lambda_rl import Constant, LearnedSchedule, Schedule, ScheduleFactory
from lambda_rl.agents.baselines import BASELINES, Baseline, Judge, ScheduleContestant
from lambda_rl.agents.comparison.command import CompareConfig, run_comparison
from lambda_rl.agents.comparison.contestants import (
    Cell,
    Contestant,
    GridSearch,
    Played,
    check_meanings,
    line_up,
    policy_names,
    read_policies,
)
from lambda_rl.agents.comparison.protocol import compare, play
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.comparison.words import headline
from lambda_rl.envs.data import load_test, load_train
from lambda_rl.envs.judging import ScheduleJob
from lambda_rl.envs.tasks.suites import Suite, TaskList

FAMILIES = ("pull-down", "pull-up", "cosine", "steps", "gap")
DERIVED = {
    "oracle-constant",
    "grid-search",
    "best-single-constant",
    "best-single-constant-hindsight",
    "mean-constant",
}


def small(suite: Suite = SUITE, seeds: int = 1, **options: object) -> Comparison:
    """A comparison of few constants."""
    lineup = line_up(constants=(0.01, 0.1), **options)  # type: ignore[arg-type]
    return compare(lineup, suite, seeds, load_train("synthetic"), load_test("synthetic"))


def test_names_of_policies() -> None:
    assert policy_names(["x/policy.safetensors"]) == ["learned"]
    assert policy_names(["x/a.safetensors", "y/b.safetensors"]) == ["learned:a", "learned:b"]
    assert policy_names(["x/p.safetensors", "y/p.safetensors"]) == ["learned:x/p", "learned:y/p"]
    with pytest.raises(ValueError, match="twice"):
        policy_names(["a", "a"])


def test_it_is_paired_complete_and_comes_back(tmp_path: Path) -> None:
    learned = read_policies([write_policy(tmp_path / "policy.safetensors")])
    lineup = line_up(learned, constants=(0.01, 0.1), tuned=tuned_result(constant="constant:0.03"))
    images = load_train("synthetic"), load_test("synthetic")
    calls: list[tuple[int, int]] = []
    found = compare(lineup, SUITE, 2, *images, progress=lambda done, total: calls.append((done, total)))
    names = {"learned", *FAMILIES, "constant:0.01", "constant:0.1", "constant:0.03", "no-penalty"}
    assert set(found.summary.schedules) == names | DERIVED
    assert found.summary.best_single_constant == "constant:0.03"
    assert found.summary.seeds == (0, 1)
    assert found.summary.inner_runs_done == 4 * len(names)
    assert calls[-1] == (4 * len(names), 4 * len(names))
    assert calls == sorted(calls)
    assert found.summary.schedules["grid-search"].inner_runs == 2
    assert found.summary.policies["learned"].fingerprint == learned[0].policy.fingerprint
    assert len(found.results.table) == 4 * (len(names) + len(DERIVED))
    assert len(found.trajectories) == 4 * len(names) * TASK.decisions
    # Common random numbers: the first interval of two schedules with the same λ is the same.
    first = (
        found.trajectories[found.trajectories["decision"] == 0]
        .set_index(["schedule", "task", "seed"])
        .sort_index()
    )
    assert (first.loc["constant:0.1", "train_loss"] == first.loc["pull-down", "train_loss"]).all()
    assert (found.trajectories.loc[found.trajectories["schedule"] == "no-penalty", "lam"] == 0).all()
    found.write(tmp_path)
    back = Comparison.load(tmp_path)
    assert json.loads(dataclasses.replace(back.summary, digests={}).to_json()) == json.loads(
        found.summary.to_json()
    )
    pd.testing.assert_frame_equal(back.results.table, found.results.table, check_dtype=False)
    assert len(headline(found.summary, found.evidence)) == 1
    again = compare(lineup, SUITE, 2, *images)
    pd.testing.assert_frame_equal(again.results.table, found.results.table)


def test_each_policy_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was read six times a comparison."""
    from lambda_rl import load_policy

    read: list[str] = []

    def counted(policy: str | Path | None = None) -> object:
        read.append(Path(str(policy)).name)
        return load_policy(policy)

    for name, module in list(sys.modules.items()):
        if name.startswith("lambda_rl") and getattr(module, "load_policy", None) is load_policy:
            monkeypatch.setattr(module, "load_policy", counted)
    paths = [write_policy(tmp_path / f"{name}.safetensors", seed) for seed, name in enumerate("ab")]
    suite = tmp_path / "own.yaml"
    suite.write_text(OWN_SUITE.format(name="own"))
    config = CompareConfig(
        out=str(tmp_path / "out"), policy=tuple(map(str, paths)), suite=str(suite), seeds=1, tune="none",
        constants=(0.1,), threads=1,
    )  # fmt: skip
    found = run_comparison(config, Console(quiet=True))
    assert read == ["a.safetensors", "b.safetensors"]
    assert {"learned:a", "learned:b"} <= set(found.summary.schedules)


def test_all_schedules_are_judged_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else runs of different schedules could not be trained as one network."""
    from lambda_rl.agents.baselines import judge as module

    calls: list[int] = []
    original = module.run_schedules

    def counted(jobs: Sequence[object], *images: object, **options: object) -> object:
        calls.append(len(jobs))
        return original(jobs, *images, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "run_schedules", counted)
    found = small()
    # no-penalty, 2 constants and 5 families; the grid search asks for nothing new
    assert calls == [2 * 8]
    assert found.summary.inner_runs_done == 2 * 8


def test_seeds_of_tuning_are_refused() -> None:
    with pytest.raises(ValueError, match="tuned with"):
        small(seeds=2, tuned=tuned_result(seeds=(1,)))


def test_an_agent_suite_and_untuned_schedules_are_noted(tmp_path: Path) -> None:
    path = write_policy(tmp_path / "policy.safetensors")
    suite = Suite(
        "tiny", "agent", TaskList((dataclasses.replace(TASK, optimizer="adamw", decay="decoupled"),))
    )
    with pytest.raises(
        ValueError, match="coupled decay, suite tiny has decoupled; say --lam-meaning convert"
    ):
        check_meanings(read_policies([path]), suite)
    lams = {}
    for meaning, word in (("convert", "converted"), ("coupled", "used unconverted")):
        learned = read_policies([path], meaning)
        check_meanings(learned, suite)
        lineup = line_up(learned, constants=(0.01,), families=("gap",), extra=("constant:0.0005",))
        found = compare(lineup, suite, 1, load_train("synthetic"), load_test("synthetic"))
        notes = " ".join(found.summary.notes)
        assert "fold agent" in notes
        assert "untuned" in notes
        assert f"coupled decay, the suite has decoupled; its λ is {word}" in notes
        assert found.summary.of_kind("hand-designed") == ["gap"]
        assert found.summary.schedules["constant:0.0005"].kind == "constant"
        assert found.summary.schedules["learned"].spec == f"learned:{path},lam_meaning={meaning}"
        assert found.summary.constants == ("constant:0.01",)  # what is extra is not of the grid
        rows = found.trajectories
        lams[meaning] = rows[rows["schedule"] == "learned"]["lam"].to_numpy()
    assert not np.allclose(lams["convert"], lams["coupled"], rtol=0.1)


def test_what_takes_part_is_checked() -> None:
    with pytest.raises(ValueError, match="unknown hand-designed schedule warm; allowed are pull-down"):
        line_up(constants=(0.01,), families=("warm",))
    with pytest.raises(ValueError, match="unknown hand-designed schedule constant"):
        line_up(constants=(0.01,), families=("constant",))
    with pytest.raises(ValueError, match=r"constant:0\.01 takes part already"):
        line_up(constants=(0.01,), extra=("constant:0.01",))
    with pytest.raises(ValueError, match="gap takes part twice"):
        line_up(constants=(0.01,), families=("gap", "gap"))
    with pytest.raises(ValueError, match="gap is not among the tuned families"):
        line_up(tuned=tuned_result(without=("gap",)))
    assert line_up(tuned=tuned_result(without=("gap",)), families=("cosine",)).best_single == "constant:0.01"


class Sawtooth(Baseline):
    """A family from outside: its text is its own, so it makes its schedules itself."""

    name = "sawtooth"
    form = "sawtooth:{}"
    untuned = "sawtooth:0.1"

    def grid(self) -> list[str]:
        return [self.form.format(lam) for lam in (0.01, 0.1)]

    def make(self, spec: str) -> ScheduleFactory:
        lam = float(spec.partition(":")[2])

        def factory(optimizer: object = None, **context: object) -> Schedule:
            return Constant(lam)

        return factory


def test_a_new_family_is_one_class_and_one_registration() -> None:
    with BASELINES.temporarily("sawtooth", Sawtooth()):
        found = small(extra=("sawtooth:0.01",))
        alone = line_up(constants=(0.1,), families=("sawtooth",))
    assert found.summary.schedules["sawtooth"].kind == "hand-designed"
    scores = found.results.scores
    assert (scores("sawtooth") == scores("constant:0.1")).all()
    assert (scores("sawtooth:0.01") == scores("constant:0.01")).all()
    assert [c.name for c in alone.contestants if c.kind == "hand-designed"] == ["sawtooth"]
    assert "sawtooth" not in small().summary.schedules


@dataclasses.dataclass
class Pair:
    """A contestant that is no schedule: two constants, the second one where the first did not learn enough."""

    asked: list[str]
    name: str = "pair"
    kind: str = "hand-designed"
    spec: str = "pair:0.01,3"

    def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
        for cell in cells:
            self.asked.append(cell.name)
            tried = []
            for lam in (0.01, 3.0):
                constant = BASELINES["constant"].contestant(f"constant:{lam:g}")
                tried += list(constant.play([cell], judge))
            best = max(tried, key=lambda played: played.result.val_accuracy)
            yield dataclasses.replace(best, inner_runs=2, steps=sum(played.steps for played in tried))


class PairFamily(Baseline):
    """A baseline that is no schedule, and is not tuned."""

    name = "pair"
    untuned = Pair.spec

    def __init__(self, pair: Pair) -> None:
        self.pair = pair

    def contestant(self, spec: str, name: str = "") -> Contestant:
        return self.pair


def test_a_baseline_that_is_no_schedule_takes_part_with_its_own_cost() -> None:
    pair = Pair([])
    with BASELINES.temporarily("pair", PairFamily(pair)):
        lineup = line_up(constants=(0.01, 3.0), families=("pair",), tuned=tuned_result(constant="constant:3"))
    calls: list[tuple[int, int]] = []
    found = compare(
        lineup, SUITE, 2, load_train("synthetic"), load_test("synthetic"),
        progress=lambda done, total: calls.append((done, total)),
    )  # fmt: skip
    assert pair.asked == [name for name in SUITE.task_names for _ in range(2)]
    assert found.summary.schedules["pair"].inner_runs == 2
    assert (found.results.scores("pair") == found.results.scores("grid-search")).all()
    assert set(found.trajectories["schedule"]) == {"pair", "constant:0.01", "constant:3", "no-penalty"}
    assert calls[-1] == (16, 16)
    assert found.summary.inner_runs_done == 4 * (2 + 3)


def test_a_grid_search_takes_the_best_constant_by_validation_and_pays_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    constants = [BASELINES["constant"].contestant(f"constant:{lam}") for lam in (1, 2, 3)]
    val = {"constant:1": [0.1, 0.7], "constant:2": [0.9, 0.7], "constant:3": [0.9, 0.1]}
    cells = [Cell("a", TASK), Cell("b", TASK.with_seed(1))]

    class Fixed(Judge):
        """Says of each run what validation accuracy it had."""

        def __call__(
            self, jobs: Sequence[ScheduleJob], progress: Callable[[int, int], None] | None = None
        ) -> list[Played]:
            return [self._changed(played) for played in super().__call__(jobs, progress)]

        def _changed(self, played: Played) -> Played:
            accuracy = val[played.result.schedule][played.seed]
            result = dataclasses.replace(played.result, val_accuracy=accuracy, test_accuracy=1.0 - accuracy)
            return dataclasses.replace(played, result=result)

    search = GridSearch([c for c in constants if isinstance(c, ScheduleContestant)])
    found = list(search.play(cells, Fixed(load_train("synthetic"), "held-out")))
    # The first of equals, and never by test accuracy.
    assert [played.spec for played in found] == ["constant:2", "constant:1"]
    assert [played.task for played in found] == ["a", "b"]
    assert [played.inner_runs for played in found] == [3, 3]
    assert [played.steps for played in found] == [3 * TASK.steps] * 2
    with pytest.raises(ValueError, match="at least one constant"):
        GridSearch([])


def test_a_learned_contestant_plays_the_policy_that_was_read(tmp_path: Path) -> None:
    (learned,) = read_policies([write_policy(tmp_path / "p.safetensors")])
    (tmp_path / "p.safetensors").unlink()
    schedule = learned.contestant.make(
        total_steps=10, facts=FACTS, weight_norm=1.0, penalty_sum=1.0, decisions=2, decay="coupled"
    )
    assert isinstance(schedule, LearnedSchedule)
    assert schedule.policy is learned.policy
    contestants: list[Contestant] = [learned.contestant]
    (played,) = play(contestants, [Cell("a", TASK)], judge())["learned"]
    assert (played.task, played.seed, played.inner_runs, played.steps) == ("a", 0, 1, TASK.steps)
    assert played.seconds > 0
