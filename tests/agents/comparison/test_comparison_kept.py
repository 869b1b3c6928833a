"""A comparison that is killed goes on, writes to no place that it cannot write to, and replaces nobody's files."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from comparisons import SUITE, TASK, judge, own_comparison, tuned_result, write_policy
from rich.console import Console

from lambda_rl.agents.baselines import BASELINES, Cell, Judge, Played, ScheduleContestant
from lambda_rl.agents.baselines import judge as judging
from lambda_rl.agents.baselines.fingerprints import file_fingerprint, trainer_fingerprint
from lambda_rl.agents.comparison.asked import request
from lambda_rl.agents.comparison.command import CompareConfig, run_comparison
from lambda_rl.agents.comparison.folder import FILES
from lambda_rl.agents.comparison.protocol import play
from lambda_rl.agents.comparison.store import RunStore
from lambda_rl.envs.judging import Hooks, RunResult, ScheduleJob
from lambda_rl.envs.tasks.suites import load_suite
from lambda_rl.envs.training.placement import TrainerConfig

TABLES = ("results.csv", "trajectories.csv")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompareConfig:
    """A comparison of 30 runs in batches of at most 16."""
    return own_comparison(tmp_path, monkeypatch, ("gap", "cosine"))


class Runs:
    """Counts inner runs that are really done, and kills the process after some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done = 0
        self.kill_after = 10**9
        self._original = judging.run_schedules
        monkeypatch.setattr(judging, "run_schedules", self._counted)

    def _counted(
        self,
        jobs: Sequence[ScheduleJob],
        *images: object,
        hooks: Hooks,
        **options: object,
    ) -> list[RunResult]:
        before, progress = self.done, hooks.progress
        assert progress is not None

        def tell(done: int, total: int) -> None:
            progress(done, total)
            self.done = before + done
            if self.done >= self.kill_after:
                raise KeyboardInterrupt

        hooks = dataclasses.replace(hooks, progress=tell)
        return self._original(jobs, *images, hooks=hooks, **options)  # type: ignore[arg-type]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(monkeypatch)


def run(config: CompareConfig, console: Console | None = None, **changes: object) -> Path:
    config = dataclasses.replace(config, **changes)  # type: ignore[arg-type]
    run_comparison(config, console or Console(quiet=True))
    return Path(config.out)


def tables(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in TABLES]


def test_a_killed_comparison_goes_on_where_it_was(config: CompareConfig, runs: Runs, tmp_path: Path) -> None:
    """R26: rows are kept as they are done, and the end is the same to the byte."""
    whole = run(config, out=str(tmp_path / "whole"))
    count = runs.done
    assert count == 30
    runs.done, runs.kill_after = 0, 16
    console = Console(record=True, width=1000, file=io.StringIO())
    with pytest.raises(KeyboardInterrupt):
        run(config, console)
    first = runs.done
    assert (
        f"{first} inner runs are kept in {Path(config.out) / 'runs.jsonl'}; the same command"
        in console.export_text()
    )
    assert 0 < first < count
    assert sorted(path.name for path in Path(config.out).iterdir()) == ["runs.jsonl"]
    runs.done, runs.kill_after = 0, 10**9
    assert tables(run(config)) == tables(whole)
    assert runs.done == count - first
    runs.done = 0
    assert tables(run(config)) == tables(whole)
    assert runs.done == 0


def test_a_line_that_was_cut_off_is_run_again(config: CompareConfig, runs: Runs) -> None:
    before = tables(run(config))
    path = Path(config.out) / "runs.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b'"seed"', b'"sed"')  # damaged in the middle, too
    path.write_bytes(b"".join(lines)[:-100])
    runs.done = 0
    assert tables(run(config)) == before
    assert runs.done == 2
    runs.done = 0
    run(config)
    assert runs.done == 0


def test_killed_tuning_goes_on_too(
    config: CompareConfig, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = dataclasses.replace(SUITE, name="tiny", fold="agent")
    monkeypatch.setattr(request, "load_suite", lambda name: tiny if name == "tiny" else load_suite(name))
    options: dict[str, object] = {"tune": "tiny", "tune_settings": 1, "families": ()}
    runs.kill_after = 10
    with pytest.raises(KeyboardInterrupt):
        run(config, **options)
    kept = (Path(config.out) / "runs.jsonl").read_text().splitlines()[1:]
    assert len(kept) == runs.done
    assert json.loads(kept[0])["history"] == {}  # nobody asks a setting for its trace
    first, runs.done, runs.kill_after = runs.done, 0, 10**9
    run(config, **options)
    tuned = json.loads((Path(config.out) / "tuned.json").read_text())
    assert first + runs.done == sum(tuned["inner_runs"].values()) + 18


def test_a_place_that_cannot_be_written_to_is_told_before_the_first_run(
    config: CompareConfig, runs: Runs, tmp_path: Path
) -> None:
    """R27: it was told after the tuning, or after all runs."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        run(config, out=str(tmp_path / "file" / "out"))
    assert runs.done == 0


@pytest.mark.parametrize("name", FILES)
def test_files_of_others_are_not_replaced(config: CompareConfig, runs: Runs, name: str) -> None:
    """R28."""
    out = Path(config.out)
    out.mkdir()
    (out / name).write_text("somebody's work")
    with pytest.raises(ValueError, match=r"has files of another comparison .* say --overwrite") as error:
        run(config)
    assert name in str(error.value)
    assert runs.done == 0
    assert (out / name).read_text() == "somebody's work"
    assert {path.name for path in out.iterdir()} == {name}


@pytest.mark.parametrize(
    ("first", "message"),
    [
        ('{"format_version": 0, "comparison": "x"}\n', "has rows of format 0, this program reads format 1"),
        ("task,seed,schedule\n", "has no rows of a comparison, this program reads format 1"),
    ],
)
def test_rows_of_another_protocol_are_told_in_one_line(
    config: CompareConfig, runs: Runs, first: str, message: str
) -> None:
    out = Path(config.out)
    out.mkdir()
    (out / "runs.jsonl").write_text(first)
    with pytest.raises(ValueError, match=message) as error:
        run(config, overwrite=True)
    assert "\n" not in str(error.value)
    assert runs.done == 0
    assert (out / "runs.jsonl").read_text() == first


def test_overwriting_replaces_a_comparison_and_keeps_runs_in_common(
    config: CompareConfig, runs: Runs
) -> None:
    out = run(config)
    before, runs.done = tables(out), 0
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="another comparison"):
        run(config, constants=(0.01, 0.3))
    assert tables(out) == before
    assert tables(run(config, constants=(0.01, 0.3), overwrite=True)) != before
    assert runs.done == 6  # one new constant on 3 tasks × 2 seeds
    assert (out / "notes.txt").read_text() == "mine"
    runs.done = 0
    assert tables(run(config, overwrite=True)) == before
    assert runs.done == 0


def test_tuned_settings_may_lie_in_the_folder_already(config: CompareConfig) -> None:
    place = Path(config.out) / "tuned.json"
    tuned_result().save(place)
    before = place.read_bytes()
    run(config, tuned=str(place))
    assert place.read_bytes() == before


def constant(lam: float) -> ScheduleContestant:
    made = BASELINES["constant"].contestant(f"constant:{lam:g}", f"constant:{lam:g}")
    assert isinstance(made, ScheduleContestant)
    return made


def test_results_come_back_from_the_file_to_the_bit(tmp_path: Path) -> None:
    cells = [Cell("λ\n\x1b", TASK), Cell("b", dataclasses.replace(TASK, learning_rate=1e4, seed=3))]
    store = RunStore(tmp_path / "runs.jsonl", {"a": 1})
    store.open()
    contestants = [constant(0.1), constant(0.0)]
    first = play(contestants, cells, judge(kept=store))
    assert any(item.result.diverged for item in first["constant:0.1"])
    assert np.isneginf(first["constant:0"][0].result.history["log_lam"]).all()
    again = RunStore(tmp_path / "runs.jsonl", {"a": 1})
    again.open()
    back = play(contestants, cells, judge(kept=again))
    assert list(back) == list(first)
    for name, items in first.items():
        for old, new in zip(items, back[name], strict=True):
            np.testing.assert_equal(dataclasses.asdict(new), dataclasses.asdict(old))  # where NaN is NaN


def test_a_result_is_kept_under_all_that_it_depends_on(tmp_path: Path) -> None:
    def key(task: object = TASK, spec: str = "constant:0.1", **options: object) -> str:
        made = judge(**{"fold": "held-out", **options})  # type: ignore[arg-type]
        return made.key(task, spec)  # type: ignore[arg-type]

    keys = {
        key(),
        key(TASK.with_seed(1)),
        key(dataclasses.replace(TASK, label_noise=0.1)),
        key(spec="constant:0.2"),
        key(fold="agent"),
        key(test=False),
        key(config=TrainerConfig(precision="fp64")),
    }
    assert len(keys) == 7
    assert key(config=TrainerConfig(threads=2)) == key()  # a machine with more cores may go on
    assert trainer_fingerprint(TrainerConfig()) != trainer_fingerprint(TrainerConfig(compile=True))


def test_the_content_of_a_file_is_part_of_a_schedule(tmp_path: Path) -> None:
    path = tmp_path / "a, b.csv"
    path.write_text("1")
    spec = f"replay:{path},option=3"
    first = file_fingerprint(spec)
    path.write_text("2")
    assert len({first, file_fingerprint(spec), ""}) == 3
    assert file_fingerprint("gap:initial=0.01,factor=2") == ""
    policy = write_policy(tmp_path / "p.safetensors")
    assert (
        file_fingerprint(f"learned:{policy},lam_meaning=convert")
        == file_fingerprint(f"learned:{policy}")
        != ""
    )


@dataclasses.dataclass
class Search:
    """A contestant that is no schedule and does its runs without the judge."""

    played: list[Played]
    asked: list[str]
    name: str = "search"
    kind: str = "hand-designed"
    spec: str = "search:1"

    def play(self, cells: Sequence[Cell], judge: Judge) -> object:
        for cell in cells:
            self.asked.append(cell.name)
            yield self.played[0]


def test_a_search_is_not_done_again_either(tmp_path: Path) -> None:
    cells = [Cell("a", TASK), Cell("b", TASK.with_seed(1))]
    played = play([constant(0.1)], cells, judge())["constant:0.1"]
    found = []
    for asked in (cells[:1], cells, cells):
        store = RunStore(tmp_path / "runs.jsonl", {})
        store.open()
        search = Search(played, [])
        results = play([search], asked, judge(kept=store))["search"]  # type: ignore[list-item]
        assert [item.task for item in results] == [cell.name for cell in asked]
        found.append(search.asked)
    assert found == [["a"], ["b"], []]
