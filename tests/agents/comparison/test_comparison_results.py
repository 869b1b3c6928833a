"""The typed summary: it reads every comparison that is in the repository, and refuses what is none."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from comparisons import schedule_summary, summary, table
from places import DOCS

from lambda_rl.agents.comparison.results import Summary
from lambda_rl.agents.comparison.tables import Comparison, Results

RESULTS = DOCS / "results"
COMPARISONS = [
    path for path in sorted(RESULTS.rglob("summary.json")) if "schedules" in json.loads(path.read_text())
]


@pytest.mark.skipif(not RESULTS.is_dir(), reason="no results in this checkout")
def test_there_are_comparisons_to_read() -> None:
    assert len(COMPARISONS) >= 7


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: str(path.parent.relative_to(RESULTS)))
def test_a_committed_summary_is_read_and_written_to_the_byte(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = Summary.from_json(text)
    assert found.to_json() == text
    raw = json.loads(text)
    assert found.of_kind("learned") == [
        n for n, item in raw["schedules"].items() if item["kind"] == "learned"
    ]
    assert found.schedules["oracle-constant"].ci95 == tuple(raw["schedules"]["oracle-constant"]["ci95"])


def small() -> Summary:
    return summary({"learned": schedule_summary()})


def test_new_keys_are_written_when_they_are_known() -> None:
    assert "digests" not in json.loads(small().to_json())
    known = dataclasses.replace(small(), digests={"results.csv": "0"})
    assert Summary.from_json(known.to_json()) == known


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedules": {"learned": 3}}, "schedules.learned"),
        ({"seconds": "long"}, "seconds"),
        ({"format_version": 2}, "summary of format 2, this program reads 1"),
        ({"tasks": None}, "tasks"),
    ],
)
def test_what_is_no_summary_is_told_with_its_place(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "summary.json"
    path.write_text(json.dumps({**json.loads(small().to_json()), **change}))
    with pytest.raises(ValueError, match=message) as error:
        Summary.load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"figures": []}'])
def test_other_files_are_no_summary(text: str) -> None:
    with pytest.raises(ValueError, match="not the summary of a comparison"):
        Summary.from_json(text)


def test_numbers_that_json_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        dataclasses.replace(small(), seconds=float("nan")).to_json()


def comparison() -> Comparison:
    scores = {"learned": [[1.5, 2.5]], "nan": [[0.1, 1e-17]]}
    rows = table(scores, scores).assign(final_log_lam=np.nan)
    rows.loc[0, "spec"] = ""
    trajectories = pd.DataFrame(
        {"task": ["a"], "seed": [0], "schedule": ["nan"], "decision": [0], "lam": [0.1]}
    )
    return Comparison(Results(rows), trajectories, small())


def test_tables_come_back_with_names_that_look_like_no_numbers(tmp_path: Path) -> None:
    comparison().write(tmp_path)
    back = Comparison.load(tmp_path)
    pd.testing.assert_frame_equal(back.results.table, comparison().results.table, check_dtype=False)
    assert dataclasses.replace(back.summary, digests={}) == small()
    assert set(back.summary.digests) == {"results.csv", "trajectories.csv"}


@pytest.mark.parametrize("name", ["results.csv", "trajectories.csv"])
def test_tables_of_another_comparison_are_not_taken_for_its_own(tmp_path: Path, name: str) -> None:
    """R28: a comparison that was killed between its files left the new table beside the old summary."""
    comparison().write(tmp_path)
    path = tmp_path / name
    path.write_text(path.read_text().replace("0", "9", 1))
    with pytest.raises(ValueError, match=f"{name} is not the table that summary.json was made of"):
        Comparison.load(tmp_path)


def test_a_folder_without_digests_is_read_as_it_is(tmp_path: Path) -> None:
    comparison().write(tmp_path)
    (tmp_path / "summary.json").write_text(small().to_json())
    (tmp_path / "results.csv").write_text(comparison().results.to_csv().replace("1.5", "1.75"))
    assert Comparison.load(tmp_path).results.scores("learned").tolist() == [[1.75, 2.5]]


def test_a_missing_file_is_named_but_trajectories_need_not_be_kept(tmp_path: Path) -> None:
    comparison().write(tmp_path)
    (tmp_path / "trajectories.csv").unlink()
    assert Comparison.load(tmp_path).trajectories.empty
    (tmp_path / "results.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no comparison: results\.csv is missing"):
        Comparison.load(tmp_path)
