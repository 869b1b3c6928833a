"""Rules are hidden in several categories together, and can be found: late, and with weight decay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lambda_rl.envs.data import load_test, load_train
from lambda_rl.envs.data.rules import latin_square, rules
from lambda_rl.envs.data.tables import TableSize


def drawn(inputs: int, classes: int, seed: int = 0, rows: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    world = rules(np.random.default_rng(seed), TableSize(inputs, classes, rows))
    return world(np.random.default_rng(1), rows)


@pytest.mark.parametrize("size", [2, 3, 5, 6, 20, 100])
def test_latin_squares(size: int) -> None:
    rng = np.random.default_rng(0)
    square = latin_square(rng, size)
    every = np.arange(size)
    assert (np.sort(square, 0) == every[:, None]).all()
    assert (np.sort(square, 1) == every).all()
    if size > 3:
        assert not np.array_equal(square, latin_square(rng, size))


def test_not_all_squares_are_those_of_a_group() -> None:
    # In the only group of five, renamed or not, what leads from one row to another is a single cycle of all five.
    cycles = set()
    for seed in range(20):
        square = latin_square(np.random.default_rng(seed), 5)
        first, second = square[0], square[1]
        step = dict(zip(first.tolist(), second.tolist(), strict=True))
        at, length = step[0], 1
        while at != 0:
            at, length = step[at], length + 1
        cycles.add(length)
    assert cycles - {5}


@pytest.mark.parametrize(("inputs", "classes"), [(12, 2), (12, 3), (24, 4), (9, 20)])
def test_no_input_alone_tells_the_class(inputs: int, classes: int) -> None:
    values, labels = drawn(inputs, classes)
    share = np.bincount(labels, minlength=classes) / len(labels)
    assert np.abs(share - 1 / classes).max() < 0.03
    for column in values.T:
        high = column > np.median(column)
        told = np.bincount(labels[high], minlength=classes) / high.sum()
        assert np.abs(told - share).max() < 0.06


def test_parities_are_products_of_signs() -> None:
    found = set()
    for seed in range(12):
        values, labels = drawn(9, 2, seed)
        signs, answer = np.sign(values), 2 * labels - 1
        hits = [
            names
            for names in [(a, b) for a in range(9) for b in range(a)]
            + [(a, b, c) for a in range(9) for b in range(a) for c in range(b)]
            if abs((signs[:, names].prod(1) * answer).mean()) > 0.99
        ]
        assert len(hits) == 1
        found.add(len(hits[0]))
    assert found == {2, 3}


def trained(decay: float) -> tuple[float, float]:
    """Accuracy of a plain network on training rows and on others."""
    spec = "table:rules:50x2x2000:5"
    train, test = load_train(spec), load_test(spec)
    x, z = ((part.images.flatten(1).float() - 128) / 32 for part in (train, test))
    x, y = x[:250], train.labels[:250]
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(50, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=decay)
    for _ in range(500):
        optimizer.zero_grad()
        F.cross_entropy(net(x), y).backward()
        optimizer.step()
    return tuple(
        float((net(rows).argmax(1) == labels).float().mean()) for rows, labels in ((x, y), (z, test.labels))
    )  # type: ignore[return-value]


def test_few_rows_are_learned_by_heart_and_decay_finds_the_rule() -> None:
    plain, decayed = trained(0.0), trained(2.0)
    assert plain[0] == 1.0
    assert plain[1] < 0.75
    assert decayed[1] > plain[1] + 0.15
