"""Units on a cluster: each process makes its tool once, results are in order or as they come, errors are their own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from lambda_rl.agents.clusters import RayPool


def test_units_are_done_by_a_tool_that_is_made_once(cluster: Any) -> None:
    made = itertools.count()

    def make() -> Callable[[int, int], int]:
        next(made)
        return lambda one, other: one // other

    pool = RayPool(cluster, make)
    waiting = pool.begin([(6, 1), (6, 2), (6, 3)])
    assert list(waiting()) == [6, 3, 2]
    assert list(pool.done([(8, 1), (8, 2), (8, 4)])) == [(2, 2), (1, 4), (0, 8)]  # as they come
    assert next(made) == 1


def test_what_a_unit_raises_is_raised_and_the_others_are_cancelled(
    cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make() -> Callable[[str], int]:
        return int

    pool = RayPool(cluster, make)
    with pytest.raises(ValueError, match="invalid literal"):
        list(pool.done([("1",), ("2",), ("x",)]))
    assert cluster.stand_in.cancelled == 2
    with pytest.raises(ValueError, match="invalid literal"):
        list(pool.begin([("x",)])())

    def get(reference: Any) -> int:
        raise cluster.stand_in.exceptions.RayError("killed")

    monkeypatch.setattr(cluster.stand_in, "get", get)
    with pytest.raises(OSError, match="lost a run 10 times over: killed"):
        list(pool.done([("1",)]))
