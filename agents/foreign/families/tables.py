"""Tables: wine, breast cancer, and generated ones."""

from __future__ import annotations

from functools import partial

import numpy as np
from sklearn.datasets import load_breast_cancer, load_wine, make_classification
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from torch.optim import Adam, AdamW

from lambda_rl.agents.foreign.families.common import cut, mlp, standardised
from lambda_rl.agents.foreign.task import Data, ForeignTask


def wine(seed: int, *, noise: float = 0.0) -> Data:
    """178 wines, 13 measurements, 3 growers."""
    inputs, labels = load_wine(return_X_y=True)
    return standardised(cut(inputs, labels, (70, 40), seed, noise=noise))


def cancer(seed: int, *, noise: float = 0.0) -> Data:
    """569 biopsies, 30 measurements, benign or not."""
    inputs, labels = load_breast_cancer(return_X_y=True)
    return standardised(cut(inputs, labels, (250, 100), seed, noise=noise))


def generated(seed: int, *, train: int = 1500, noise: float = 0.0, **options: object) -> Data:
    """A table of ``make_classification``, another for each seed: 500 rows to validate, 2,000 to test."""
    inputs, labels = make_classification(
        train + 2500, **{"n_features": 20, "n_informative": 10, "n_classes": 5, **options}, random_state=seed
    )
    return standardised(cut(inputs, labels, (train, 500), seed, noise=noise))


def grown(seed: int, *, train: int = 1000, noise: float = 0.2) -> Data:
    """Labels by a decision tree that was grown on noise: no smooth function of the 12 inputs."""
    rng = np.random.default_rng(seed)
    inputs = rng.normal(size=(train + 2500, 12))
    tree = DecisionTreeClassifier(max_leaf_nodes=24, random_state=seed)
    tree.fit(rng.normal(size=(400, 12)), rng.integers(4, size=400))
    return cut(inputs, tree.predict(inputs), (train, 500), seed, noise=noise)


task = partial(ForeignTask, family="tables", network=mlp, epochs=40, seconds=0.45)

TASKS = (
    task(name="wine", data=wine, epochs=150, batch_size=16, lr=0.02),
    task(name="wine-noisy", data=partial(wine, noise=0.3), epochs=150, batch_size=16, lr=0.02),
    task(name="cancer", data=cancer, epochs=80),
    task(name="cancer-noisy", data=partial(cancer, noise=0.25), epochs=80, optimizer=AdamW, lr=3e-3),
    task(name="table-5-classes", data=generated, batch_size=64),
    task(
        name="table-imbalanced",
        data=partial(generated, n_classes=3, weights=[0.8, 0.15, 0.05], noise=0.1),
        batch_size=64,
        network=partial(mlp, hidden=(128,)),
    ),
    task(
        name="table-redundant",
        data=partial(generated, train=600, n_features=100, n_informative=8, n_redundant=20, n_classes=4),
        optimizer=AdamW,
        lr=2e-3,
        network=partial(mlp, hidden=(128, 64), activation=nn.SiLU),
    ),
    task(
        name="table-linear",
        data=partial(generated, train=400, n_features=300, n_informative=20, n_classes=3),
        network=partial(mlp, hidden=()),
        momentum=0.0,
        lr_schedule="constant",
        epochs=80,
    ),
    task(
        name="table-20-classes",
        data=partial(generated, train=3000, n_features=40, n_informative=15, n_classes=20, class_sep=2.0),
        batch_size=64,
        epochs=25,
        optimizer=Adam,
        lr=3e-3,
    ),
    task(name="table-tree", data=grown, network=partial(mlp, norm="batch"), calls=15),
)
