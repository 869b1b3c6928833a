"""A new baseline is one class and one registration, whether it is a schedule or a search over many runs."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from whole_way import compared, deploy, loaded, suite_file, trained_and_exported

from lambda_rl import Constant, ScheduleFactory
from lambda_rl.agents.baselines import BASELINES, Baseline, Cell, Contestant, Judge, Played


class Doubled(Baseline):
    """Twice a constant: a schedule of its own text."""

    name = "doubled"
    form = "doubled:{}"
    untuned = "doubled:0.005"

    def grid(self) -> list[str]:
        return [self.form.format(value) for value in (0.005, 0.05)]

    def make(self, spec: str) -> ScheduleFactory:
        lam = 2 * float(spec.partition(":")[2])
        return lambda optimizer=None, **context: Constant(lam, optimizer=optimizer)


@dataclasses.dataclass
class TwoTries:
    """A search: a strong constant, and a weak one; the better by validation loss is its result."""

    spec: str
    name: str = "two-tries"
    kind: str = "hand-designed"

    def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
        for cell in cells:
            tries = [
                played
                for lam in self.spec.partition(":")[2].split(",")
                for played in BASELINES["constant"].contestant(f"constant:{lam}").play([cell], judge)
            ]
            best = min(tries, key=lambda played: played.result.val_loss)
            yield dataclasses.replace(best, inner_runs=len(tries), steps=sum(p.steps for p in tries))


class TwoTriesFamily(Baseline):
    """The family of the search; it is not tuned."""

    name = "two-tries"
    untuned = "two-tries:0.001,0.1"

    def contestant(self, spec: str, name: str = "") -> Contestant:
        return TwoTries(spec)


def test_a_schedule_goes_the_whole_way(tmp_path: Path) -> None:
    suite = suite_file(tmp_path)
    path = trained_and_exported(tmp_path, suite)
    deploy(loaded(path))
    with BASELINES.temporarily("doubled", Doubled()):
        comparison = compared(tmp_path, suite, path, families=("doubled",))
        listed = compared(tmp_path / "extra", suite, path, schedule=("doubled:0.05",))
    scores = comparison.results.scores
    assert (scores("doubled") == scores("constant:0.01")).all()
    scores = listed.results.scores
    assert (scores("doubled:0.05") == scores("constant:0.1")).all()


def test_a_search_goes_the_whole_way(tmp_path: Path) -> None:
    suite = suite_file(tmp_path)
    path = trained_and_exported(tmp_path, suite)
    with BASELINES.temporarily("two-tries", TwoTriesFamily()):
        comparison = compared(tmp_path, suite, path, families=("two-tries",))
    assert comparison.summary.schedules["two-tries"].inner_runs == 2  # it says what it cost
    tried = [comparison.summary.schedules[f"constant:{lam}"].tasks for lam in ("0.001", "0.1")]
    for task, mean in comparison.summary.schedules["two-tries"].tasks.items():
        assert mean in [pytest.approx(one[task]) for one in tried]
