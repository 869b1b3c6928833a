"""The learning curve: of a damaged file what is whole is kept, and a run goes on."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tiny_runs import metrics, same_policy

from lambda_rl.agents.ppo.run import resume
from lambda_rl.agents.record.metrics import MetricsCsv, read_rows


def test_a_damaged_learning_curve_does_not_stop_a_resume(whole: Path, stopped: Path) -> None:
    path = stopped / "metrics.csv"
    header, first, second = path.read_text().splitlines()
    path.write_text(f"{header}\n{first}\n{second[:1]}")  # cut within its first number
    with pytest.warns(RuntimeWarning, match=r"metrics\.csv: 1 damaged rows are dropped"):
        resume(stopped, show_progress=False)
    assert same_policy(whole, stopped)
    assert [row["decisions"] for row in metrics(stopped)] == ["24", "72"]


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("decisions,a\n10,1\n20,\n30,3\n", [10, 20, 30]),
        ("decisions,a\r\n10,1\r\n20,2\r\n", [10, 20]),
        ("decisions,a\n\n10,1\n", [10]),
        ("", []),
        ("10,1\n20,2\n", []),
        ("decisions;a\n10;1\n", []),
        ("decisions,a\n10,1\n20.0,2\n30,3\n", [10, 30]),
        ("decisions,a\n10,1\n20\n30,3\n", [10, 30]),
        ("decisions,a\n10,1\n20,2,3\n", [10]),
        ("decisions,a\n10,1\n20,\0\n", [10]),
        ("decisions,a\n10,1\n20,zwei\n", [10]),
        ("decisions,a\n10,1\n10,1\n-5,1\n20,2\n", [10, 20]),
        ("decisions,a\n10,1\n" + "9" * 5000 + ",1\n20,1\n", [10, 20]),
        (b"decisions,a\n10,1\n\xff\xfe\n20,1\n", [10, 20]),
    ],
)
def test_of_a_damaged_learning_curve_the_whole_rows_are_kept(
    tmp_path: Path, content: str | bytes, kept: list[int]
) -> None:
    path = tmp_path / "metrics.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    if sys.version_info < (3, 11) and b"\0" in path.read_bytes():
        kept = []  # there, csv refuses the whole file
    rows, damaged = read_rows(path, keep_until=30)
    assert [int(row["decisions"]) for row in rows] == kept
    lines = [line for line in path.read_bytes().splitlines() if line]
    assert bool(damaged) == (len(lines) != len(kept) + 1)
    assert [int(row["decisions"]) for row in read_rows(path, keep_until=10)[0]] == kept[:1]
    if damaged:
        with pytest.warns(RuntimeWarning, match=r"metrics\.csv: "):
            MetricsCsv(path, keep_until=30)
