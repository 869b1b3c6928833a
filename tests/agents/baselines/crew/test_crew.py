"""A crew gives the same rows as the judge alone, whoever of it is killed; a comparison that is killed goes on."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing import forkserver
from pathlib import Path

import pytest
from comparisons import TASK, judge, own_comparison
from rich.console import Console

from lambda_rl.agents.baselines import BASELINES, Cell, Judge, Played, ScheduleContestant
from lambda_rl.agents.baselines.crew import Crew, Ground, ProcessCrew, RayCrew
from lambda_rl.agents.baselines.fingerprints import trainer_fingerprint
from lambda_rl.agents.comparison.command import CompareConfig, run_comparison
from lambda_rl.agents.comparison.protocol import play
from lambda_rl.envs.data import load_test, load_train
from lambda_rl.envs.training.placement import TrainerConfig

CELLS = [
    Cell("a", TASK),
    Cell("b", dataclasses.replace(TASK, label_noise=0.4, seed=3)),
    Cell("c", TASK.with_seed(1)),
]
TABLES = ("results.csv", "trajectories.csv")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CompareConfig:
    """A comparison of 42 runs."""
    return own_comparison(tmp_path, monkeypatch, ("gap", "cosine", "cpr"))


def tables(config: CompareConfig) -> list[bytes]:
    run_comparison(config, Console(quiet=True))
    return [(Path(config.out) / name).read_bytes() for name in TABLES]


def slowly(config: CompareConfig) -> None:
    """Of a process that is to be killed: a run at a time, so that it can be caught between two."""
    from lambda_rl.agents.baselines import judge as judging

    original = judging.run_schedules

    def one_by_one(jobs: Sequence[object], *images: object, hooks: object, **options: object) -> list[object]:
        found = []
        for place, job in enumerate(jobs):
            mine = dataclasses.replace(
                hooks,  # type: ignore[type-var]
                on_result=lambda _, result, place=place: hooks.on_result(place, result),  # type: ignore[attr-defined]
                progress=lambda *_, place=place: hooks.progress(place + 1, len(jobs)),  # type: ignore[attr-defined]
            )
            found += original([job], *images, hooks=mine, **options)  # type: ignore[arg-type]
            time.sleep(0.05)
        return found

    judging.run_schedules = one_by_one  # type: ignore[assignment]
    run_comparison(config, Console(quiet=True))


@pytest.mark.timeout(600)  # processes that import everything: half a minute on quiet cores
def test_killed_three_times_and_resumed_it_is_the_same_to_the_byte(
    config: CompareConfig, tmp_path: Path
) -> None:
    """Killed in earnest: by SIGKILL, at whatever it does."""
    whole = tables(dataclasses.replace(config, out=str(tmp_path / "whole")))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["lambda_rl.agents.comparison.command"])
    forkserver.ensure_running()  # with all imported once; hence this test comes first
    rows, kept = Path(config.out) / "runs.jsonl", []
    for _ in range(3):
        process = context.Process(target=slowly, args=(config,))
        process.start()
        wanted = (kept[-1] if kept else 0) + 5
        while process.is_alive() and (not rows.is_file() or rows.read_bytes().count(b"\n") <= wanted):
            time.sleep(0.01)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        kept.append(rows.read_bytes().count(b"\n"))
    assert 0 < kept[0] < kept[1] < kept[2] < 43
    assert not (Path(config.out) / "results.csv").exists()
    assert tables(dataclasses.replace(config, workers=2)) == whole


def ground(**changes: object) -> Ground:
    config = TrainerConfig()
    made = Ground(
        load_train("synthetic"), "held-out", load_test("synthetic"), config, trainer_fingerprint(config)
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def contestants() -> list[ScheduleContestant]:
    """Constants, a rule, a search that plays on its own, and one that registers an optimizer of its own."""
    specs = (
        "constant:0.1",
        "constant:0",
        "gap:initial=0.01,factor=2,threshold=0.05",
        "pbt:2",
        "cpr:dependent,1",
    )
    return [BASELINES[spec.partition(":")[0]].contestant(spec, spec) for spec in specs]  # type: ignore[misc]


def told(found: dict[str, list[Played]]) -> dict[str, list[object]]:
    """Results as text, in which NaN equals NaN, without the time they took."""
    return {
        name: [repr(dataclasses.replace(item, seconds=0.0)) for item in items]
        for name, items in found.items()
    }


def dying(marker: Path) -> ScheduleContestant:
    """A contestant that kills the process that plays it, once; made here so that it travels by its content."""

    class Dying:
        name = kind = spec = "dying"

        def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
            if not marker.exists():
                marker.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield from BASELINES["constant"].contestant("constant:0.1").play(cells, judge)

    return Dying()  # type: ignore[return-value]


def check_crew(crew: Crew, tmp_path: Path) -> None:
    """The same rows as alone, and none is lost with a worker."""
    lineup = contestants()
    assert told(play(lineup, CELLS, judge(crew=crew))) == told(play(lineup, CELLS, judge()))
    found = play([dying(tmp_path / "marker")], CELLS, judge(crew=crew))["dying"]
    assert (tmp_path / "marker").exists()
    expected = play([BASELINES["constant"].contestant("constant:0.1")], CELLS, judge())["constant"]
    assert [item.result.test_accuracy for item in found] == [item.result.test_accuracy for item in expected]


def test_processes_give_the_same_rows_and_a_killed_one_is_replaced(tmp_path: Path) -> None:
    with ProcessCrew(ground(), 2) as crew:
        check_crew(crew, tmp_path)


def test_what_is_wrong_with_a_run_is_told_as_without_a_crew(tmp_path: Path) -> None:
    with ProcessCrew(ground(), 1) as crew, pytest.raises(ValueError, match="train"):
        play(
            [BASELINES["constant"].contestant("constant:0.1")],
            [Cell("a", dataclasses.replace(TASK, train_size=10**7))],
            judge(crew=crew),
        )
    other = ground(fingerprint="other")
    with (
        ProcessCrew(other, 1) as crew,
        pytest.raises(ValueError, match="another version of lambda_rl or torch"),
    ):
        play([BASELINES["constant"].contestant("constant:0.1")], CELLS, judge(crew=crew))


def test_processes_that_always_die_are_told(tmp_path: Path) -> None:
    class Deadly:
        name = kind = spec = "deadly"

        def play(self, cells: Sequence[Cell], judge: Judge) -> Iterator[Played]:
            os.kill(os.getpid(), signal.SIGKILL)
            yield from ()

    with ProcessCrew(ground(), 1) as crew, pytest.raises(OSError, match="killed 3 times in a row"):
        play([Deadly()], CELLS[:1], judge(crew=crew))  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("address", "message"),
    [("127.0.0.1:1", "no Ray cluster there"), ("nowhere", "is no address; allowed are HOST:PORT")],
)
def test_a_cluster_that_is_not_there_is_told_in_one_line(
    config: CompareConfig, address: str, message: str
) -> None:
    pytest.importorskip("ray", reason="ray is not installed (pip install 'lambda-rl[train,ray]')")
    with pytest.raises(ValueError, match=message) as error:
        run_comparison(dataclasses.replace(config, ray=address), Console(quiet=True))
    assert "\n" not in str(error.value)


def test_without_ray_it_says_how_to_get_it(config: CompareConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ValueError, match=r"pip install 'lambda-rl\[train,ray\]'"):
        run_comparison(dataclasses.replace(config, ray="local"), Console(quiet=True))
    with pytest.raises(ValueError, match="give one of them"):
        run_comparison(dataclasses.replace(config, ray="local", workers=2), Console(quiet=True))


@pytest.mark.timeout(600)
def test_two_machines_of_a_ray_cluster_give_the_same_rows(config: CompareConfig, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed (pip install 'lambda-rl[train,ray]')")
    from ray.cluster_utils import Cluster

    whole = tables(dataclasses.replace(config, out=str(tmp_path / "whole")))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        assert sum(node["Alive"] for node in ray.nodes()) == 2
        with RayCrew(ground(), cluster.address) as crew:
            check_crew(crew, tmp_path)
        assert tables(dataclasses.replace(config, ray=cluster.address)) == whole
    finally:
        ray.shutdown()
        cluster.shutdown()
