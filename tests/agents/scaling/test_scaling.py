"""Rollouts are timed as training runs them; the model says what its parts come to."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest
from places import DOCS
from tiny_runs import PPO, tiny_config

from lambda_rl.agents.scaling import command, measure
from lambda_rl.agents.scaling.command import ScalingConfig, measure_scaling, table
from lambda_rl.agents.scaling.measure import Travel, decisions_of, rows_of
from lambda_rl.agents.scaling.model import LINKS, Costs, Link, interpolated

COSTS = Costs(
    1, "tiny", 8, 3, 10, {"1": 0.1, "4": 0.2, "8": 0.4}, 2.0, {"0": 6.0, "2": 4.5}, {"0": 9.0}, 0.01, 1000, 50_000,
    {"command": "c", "commit": "0123456789", "hardware": "h", "load": "0.1 to 0.2"},
)  # fmt: skip


def test_the_model_is_the_sum_of_its_parts() -> None:
    assert COSTS.rollout(1, LINKS[0]) == pytest.approx(10 * (0.4 + 0.01) + 2.0)
    assert COSTS.rollout(2, LINKS[0]) == pytest.approx(10 * (0.2 + 0.01) + 2.0)
    assert COSTS.rollout(3, LINKS[0]) == pytest.approx(
        10 * (interpolated(COSTS.step_seconds, 3) + 0.01) + 2.0
    )
    slow = Link("slow", 0.5, 1000.0)
    assert COSTS.rollout(8, slow) == pytest.approx(
        10 * (0.1 + 0.01 + 0.5) + (10 * 1000 + 50_000) / 1000 + 2.0
    )
    assert interpolated({"1": 0.1, "4": 0.2}, 2) == pytest.approx(0.1 * math.sqrt(2))


def test_rollouts_of_a_run_are_timed(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, "run")
    rows = list(rows_of(config, 2, repeat=5))
    assert [row.rollout for row in rows] == [1, 2]
    assert {(row.workers, row.threads, row.slots, row.repeat) for row in rows} == {(0, 1, PPO.n_envs, 5)}
    assert all(row.step_seconds > 0 and row.learner_seconds > 0 for row in rows)
    assert not (tmp_path / "runs").exists()
    alone = decisions_of(config, 3)
    assert (alone.slots, alone.clock, alone.learner_seconds) == (PPO.n_envs, "cpu", 0.0)
    assert alone.step_seconds > 0


def test_the_command_fills_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With runs that are not run."""

    def rows(config: object, rollouts: int, repeat: int) -> list[measure.Row]:
        ray, ppo, threads = (getattr(config, name) for name in ("ray_workers", "ppo", "threads"))
        return [
            measure.Row(
                "quick", ray, threads, ppo.n_envs, repeat, 1, "wall", 0.01 * ppo.n_envs, 1.0 + repeat, 0.0
            )
        ]

    monkeypatch.setattr(command, "rows_of", rows)

    def alone(config: object, repeat: int) -> measure.Row:
        return dataclasses.replace(rows(config, 1, repeat)[0], clock="cpu")

    monkeypatch.setattr(command, "decisions_of", alone)
    monkeypatch.setattr(command, "travel", lambda config: Travel(0.001, 1000, 10**6))
    page = tmp_path / "page.md"
    page.write_text("<!-- block: quick -->\n<!-- end: quick -->\n")
    config = ScalingConfig(preset="quick", out=tmp_path / "out", page=str(page), repeats=2)
    measure_scaling(config)
    costs = Costs.load(tmp_path / "out" / "costs-quick.json")
    assert costs.step_seconds == {str(2**power): pytest.approx(0.01 * 2**power) for power in range(6)}
    assert costs.learner_seconds == pytest.approx(1.5)  # as much of the cpu as of the clock
    assert {"0"} < set(costs.measured) == set(costs.walls) <= {"0", "1", "2"}
    assert "| 32 | 1 | 10.0 |" in page.read_text()
    assert len((tmp_path / "out" / "rows-quick.csv").read_text().splitlines()) >= 1 + 2 * (6 + 1 + 2)
    measure_scaling(dataclasses.replace(config, measure=False))
    with pytest.raises(ValueError, match="--workers"):
        measure_scaling(dataclasses.replace(config, workers=0))


@pytest.mark.parametrize(
    "path", sorted((DOCS / "results" / "clusters").glob("costs-*.json")), ids=lambda path: path.stem
)
def test_the_page_says_what_the_files_say(path: Path) -> None:
    costs = Costs.load(path)
    assert table(costs) in (DOCS / "clusters.md").read_text(encoding="utf-8")
    assert json.loads(path.read_text())["provenance"]["command"].startswith(
        "python -m lambda_rl.agents.scaling"
    )
