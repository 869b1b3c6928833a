"""Tables are drawn from their names: the same world for the same seed, learnable in part, made in no time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lambda_rl.envs.data import data_set, is_generated, load_parts, load_test, load_train
from lambda_rl.envs.data.tables import TABLES, TableSize, table_name

KINDS = list(TABLES)


def name(kind: str, inputs: int = 12, classes: int = 4, rows: int = 1200, seed: int = 1) -> str:
    return table_name(kind, TableSize(inputs, classes, rows), seed)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_what_its_name_says(kind: str) -> None:
    train, test = load_train(name(kind)), load_test(name(kind))
    assert train.images.dtype == test.images.dtype == torch.uint8
    assert tuple(train.images.shape) == (1200, 12, 1, 1)
    assert tuple(test.images.shape) == (300, 12, 1, 1)
    assert train.num_classes == test.num_classes == 4
    assert set(train.labels.tolist()) <= set(range(4))
    again = load_train(name(kind))
    assert again.fingerprint == train.fingerprint
    assert load_train(name(kind, seed=2)).fingerprint != train.fingerprint
    # 256 levels over four deviations on either side, in every input.
    values = train.images.flatten(1).double()
    assert values.mean(0).sub(128).abs().max() < 3
    assert values.std(0).min() > 20
    assert values.std(0).max() < 36
    assert dict(zip(("count", "channels", "side", "num_classes"), (1200, 12, 1, 4), strict=True)) == {
        key: getattr(data_set(name(kind)).dimensions, key)
        for key in ("count", "channels", "side", "num_classes")
    }


def test_kinds_with_the_same_seed_are_different_worlds() -> None:
    found = {load_train(name(kind)).fingerprint for kind in KINDS}
    assert len(found) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_other_rows_of_one_world(kind: str) -> None:
    train, test = load_train(name(kind)), load_test(name(kind))
    rows = {tuple(row) for row in train.images.flatten(1).tolist()}
    assert not any(tuple(row) in rows for row in test.images.flatten(1).tolist())
    share = [torch.bincount(part.labels, minlength=4) / len(part.labels) for part in (train, test)]
    assert (share[0] - share[1]).abs().max() < 0.1


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "rules"])  # these: test_rules.py
def test_most_worlds_can_be_learned_and_they_differ_in_how_hard_they_are(kind: str) -> None:
    gains, accuracies = [], []
    for seed in range(8):
        spec = name(kind, classes=3, rows=1500, seed=seed)
        train, test = load_train(spec), load_test(spec)
        x, z = ((part.images.flatten(1).float() - 128) / 32 for part in (train, test))
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(12, 48), torch.nn.ReLU(), torch.nn.Linear(48, 3))
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
        for _ in range(150):
            optimizer.zero_grad()
            F.cross_entropy(net(x), train.labels).backward()
            optimizer.step()
        accuracy = float((net(z).argmax(1) == test.labels).float().mean())
        gains.append(accuracy - float(torch.bincount(test.labels).max()) / len(test.labels))
        accuracies.append(accuracy)
    assert sum(gain > 0.1 for gain in gains) >= 5, gains
    assert max(accuracies) - min(accuracies) > 0.1, accuracies


def test_nothing_is_kept_on_disk(tmp_path: Path) -> None:
    load_train(name("tree"), cache_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_generated_data_sets_are_not_loaded_ahead() -> None:
    assert is_generated(name("tree"))
    assert not is_generated("synthetic")
    assert not is_generated("")
    assert set(load_parts("train", name("tree"), [name("tree", seed=5)])) == {""}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("table", "unknown data|must be table:KIND"),
        ("table:tree", "must be table:KIND:INPUTSxCLASSESxROWS:SEED"),
        ("table:tree:8x2:1", "must be table:KIND"),
        ("table:tree:8x2x-5:1", "must be table:KIND"),
        ("table:tree:8x2x²00:1", "must be table:KIND"),
        (
            "table:oak:8x2x100:1",
            "unknown kind of table 'oak'; allowed: clusters, teacher, tree, signal, sparse, rules",
        ),
        ("table:tree:1x2x100:1", "inputs must be a whole number from 2 to 2,048, got 1"),
        ("table:tree:8x101x100:1", "classes must be a whole number from 2 to 100, got 101"),
        ("table:tree:8x2x49:1", "rows must be a whole number from 50 to 200,000, got 49"),
    ],
)
def test_bad_names_are_told(spec: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        load_train(spec)
