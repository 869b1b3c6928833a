"""The rules of docs/protocol.md that code enforces."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from comparisons import SUITE, judge, tuned_result, write_policy
from places import DOCS

from lambda_rl.agents.baselines import tuning_cells
from lambda_rl.agents.comparison.asked.enforced import REPLICATES, check_protocol, notes
from lambda_rl.agents.comparison.asked.options import CompareConfig
from lambda_rl.agents.comparison.contestants import line_up, read_policies
from lambda_rl.agents.comparison.protocol import cells_of
from lambda_rl.agents.comparison.results import NO_PENALTY, ORACLE
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.envs.data import load_train
from lambda_rl.envs.tasks.suites import load_suite, suite_names


def test_tuning_and_test_share_no_seed_no_images_and_no_suite() -> None:
    lineup = line_up([], tuned=tuned_result((10_000,)), constants=(0.01,), families=())
    cells = cells_of(SUITE, 5)
    check_protocol(lineup, SUITE, cells)
    with pytest.raises(ValueError, match="seeds are among those that schedules were tuned with"):
        check_protocol(lineup, SUITE, cells_of(SUITE, 1, first=10_000))
    with pytest.raises(ValueError, match="tuned on tiny-validation itself"):
        check_protocol(lineup, dataclasses.replace(SUITE, name="tiny-validation"), cells)
    with pytest.raises(ValueError, match="has a task and seed twice"):
        check_protocol(lineup, SUITE, [*cells, cells[0]])
    assert not {cell.task.seed for cell in tuning_cells(SUITE, 50)} & {
        cell.task.seed for cell in cells_of(SUITE, 50)
    }


def test_two_comparisons_may_have_seeds_of_their_own() -> None:
    first, second = ({cell.task.seed for cell in cells_of(SUITE, 5, first=start)} for start in (0, 5))
    assert len(first) == len(second) == 5
    assert not first & second


def test_suites_are_on_the_side_that_their_names_say() -> None:
    sides = {name: load_suite(name).fold for name in suite_names()}
    assert all(fold == "held-out" for name, fold in sides.items() if "held-out" in name)
    assert all(fold == "agent" for name, fold in sides.items() if name.endswith("-validation"))


def test_policies_by_fewer_seeds_than_a_statement_needs_are_told(tmp_path: Path) -> None:
    train = load_train("synthetic")

    def told(count: int, more: tuple[str, ...] = ()) -> str:
        files = [write_policy(tmp_path / f"agent-seed{seed}.safetensors", seed) for seed in range(count)]
        learned = read_policies([*map(str, files), *more])
        return " ".join(notes(line_up(learned, constants=(0.01,), families=()), SUITE, train))

    assert "learned:agent is of 2 training seeds" in told(2)
    assert "training seed" not in told(REPLICATES)
    assert "learned:cifar-mlp is of 1 training seed;" in told(REPLICATES, ("cifar-mlp",))


def test_cores_are_shared_out_among_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lambda_rl.agents.comparison.asked.options.available_cores", lambda: 8)
    monkeypatch.setattr("lambda_rl.agents.options.available_cores", lambda: 8)
    assert CompareConfig(out="x").trainer.threads == 8
    assert CompareConfig(out="x", workers=3).trainer.threads == 2
    assert CompareConfig(out="x", workers=3, threads=5).trainer.threads == 5
    assert CompareConfig(out="x", ray="local").trainer.threads == 1


def test_common_random_numbers_make_pairs() -> None:
    """Two schedules that do the same come to the same, to the bit."""
    lineup = line_up([], constants=(0.0, 0.01), families=(), extra=("steps:0.01,0.01",))
    from lambda_rl.agents.comparison.protocol import compared

    found = compared(lineup, SUITE, cells_of(SUITE, 2), judge()).results
    assert (found.scores(NO_PENALTY) == found.scores("constant:0")).all()
    assert (found.scores("steps:0.01,0.01") == found.scores("constant:0.01")).all()


def test_the_page_says_what_the_code_does() -> None:
    text = " ".join((DOCS / "protocol.md").read_text(encoding="utf-8").split())
    assert f"at least {REPLICATES} policies" in text
    assert "10,000" in text
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("http") or (DOCS / link).exists(), link


@pytest.mark.skipif(
    not (DOCS / "results/cifar-mlp/full-again").is_dir(), reason="the second comparison is not kept"
)
def test_two_disjoint_sets_of_seeds_agree() -> None:
    """What was found on one set of test seeds is found on another."""
    first, second = (Comparison.load(DOCS / "results/cifar-mlp" / name) for name in ("full", "full-again"))
    assert not set(first.summary.seeds) & set(second.summary.seeds)
    assert first.summary.tasks == second.summary.tasks
    for ours in second.evidence.learned:
        one = first.evidence.standing(ours.name).against.interval
        other = ours.against.interval
        assert max(one[0], other[0]) <= min(one[1], other[1]), ours.name
    assert first.evidence.standing(ORACLE).inner_runs == second.evidence.standing(ORACLE).inner_runs
