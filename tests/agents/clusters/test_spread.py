"""Pieces of work come to the same here and on a cluster, and commands hand them to either."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from lambda_rl.agents.atlas.command import AtlasConfig, run_atlas
from lambda_rl.agents.atlas.rows import read_constants
from lambda_rl.agents.clusters import Spread, spread
from lambda_rl.agents.foreign import runner
from lambda_rl.agents.foreign.suite import by_name

NUMBERS = [2.0, 4.0, 9.0]


def test_the_same_comes_of_it_anywhere(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "Cluster", lambda address: cluster)
    assert list(Spread()(math.sqrt, NUMBERS)) == [math.sqrt(2), 2.0, 3.0]
    assert sorted(Spread(ray="local")(math.sqrt, NUMBERS)) == [math.sqrt(2), 2.0, 3.0]


def test_foreign_loops_and_the_atlas_are_run_there(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spread, "Cluster", lambda address: cluster)
    task, rows = by_name("wine"), []
    for who in (Spread(), Spread(ray="local")):
        found = runner.run([task], [0], {"cifar-mlp": "cifar-mlp"}, constants=False, spread=who)
        rows.append([(row.contestant, row.test_accuracy, row.val_loss) for row in found])
    assert rows[0] == rows[1]
    measured = []
    for address in ("", "local"):
        out = tmp_path / f"atlas-{address}"
        run_atlas(AtlasConfig(out=out, cells=("clusters-sgd:steps=100",), seeds=1, policy="", ray=address))
        measured.append([row.accuracy for row in read_constants(out).values()])
    assert measured[0] == measured[1]
