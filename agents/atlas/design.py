"""Which cells the atlas has: one factor at a time around a few bases, and cells in which all factors are drawn.

A star around a base shows what one factor does; drawn cells show how far that holds elsewhere, and keep a law from
being fitted to a few lines through one point.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lambda_rl.envs.data.tables import TableSize, table_name
from lambda_rl.envs.tasks.task import Task

BASE, DRAWN = "base", "drawn"
"""Factors of cells that are no ray of a star."""

DECISIONS = 15
ROWS, MANY_ROWS = 20_000, 50_000
"""Rows of a table; the second where the training examples are more than the first has room for."""
WORLD = 5_000_000
"""Worlds from here on are in no policy's training."""
MOST_WORK = 2e9
"""Weights · batch · steps of a drawn cell, at most: then it takes some seconds of one core."""

_DEFAULTS = Task()

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "momentum": 0.0, "learning_rate": 0.2},
    "momentum": {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.04},
    "adamw": {"optimizer": "adamw", "decay": "decoupled", "learning_rate": 0.003},
}
"""Optimizers, with learning rates that a user would have come to."""


@dataclass(frozen=True)
class Cell:
    """A task whose constants are measured.

    Attributes:
        name: its own.
        family: what data it is on: ``cifar``, ``conv`` (CIFAR and a convolutional network) or the kind of table.
        base: the base whose star it is in; ``drawn`` for those that are drawn.
        factor: what differs from the base; ``base`` or ``drawn`` where nothing or all does.
        level: of the factor, as text.
        task: seed 0.
    """

    name: str
    family: str
    base: str
    factor: str
    level: str
    task: Task

    @property
    def optimizer(self) -> str:
        """``sgd``, ``momentum`` or ``adamw``."""
        plain = self.task.optimizer == "sgd"
        return self.task.optimizer if not plain else "momentum" if self.task.momentum else "sgd"

    def option(self, name: str, otherwise: Any) -> Any:
        """An option of the network."""
        return dict(self.task.network_options).get(name, otherwise)

    @property
    def norm(self) -> str:
        """``none``, ``batch`` or ``layer``."""
        return str(self.option("norm", "none"))

    @property
    def depth(self) -> int:
        """Hidden layers."""
        return int(self.option("depth", 2)) - 1 if self.task.network == "mlp" else 2

    def digest(self, more: object) -> str:
        """Of all that its rows depend on, ``more`` among it; a field that tasks come to have later changes nothing."""
        told = {name: value for name, value in asdict(self.task).items() if value != getattr(_DEFAULTS, name)}
        text = json.dumps([told, more], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def task_of(settings: Mapping[str, Any]) -> Task:
    """A task from the settings of a cell.

    Args:
        settings: fields of a task; and ``depth`` (hidden layers), ``norm``, ``optimizer`` by the names of
            :data:`OPTIMIZERS`, ``rate`` (times that optimizer's learning rate), ``table`` as (kind, inputs, classes,
            world).
    """
    fields = dict(settings)
    options = {"norm": fields.pop("norm", "none")}
    depth = fields.pop("depth", 1)
    if fields["network"] == "mlp":
        options["depth"] = depth + 1
    optimizer = OPTIMIZERS[fields.pop("optimizer")]
    rate = optimizer["learning_rate"] * fields.pop("rate", 1.0)
    size = fields["train_size"]
    if "table" in fields:
        kind, inputs, classes, world = fields.pop("table")
        rows = ROWS if size <= 0.4 * ROWS else MANY_ROWS
        fields |= {
            "resolution": 1, "data": table_name(kind, TableSize(inputs, classes, rows), WORLD + world)
        }  # fmt: skip
    given = {name: value for name, value in options.items() if value != "none"}
    fields |= optimizer | {
        "learning_rate": float(f"{rate:.3g}"),
        "network_options": tuple(sorted(given.items())),
        "val_size": int(np.clip(size // 4, 50, 1000)),
        "lr_told": "nominal",
        "decisions": DECISIONS,
    }
    return Task(**fields)


_CIFAR = {
    "network": "mlp", "width": 64, "depth": 1, "norm": "none", "resolution": 8, "train_size": 1000,
    "label_noise": 0.2, "optimizer": "momentum", "batch_size": 64, "steps": 400,
}  # fmt: skip
_TABLE = {
    "network": "mlp", "width": 64, "depth": 1, "norm": "none", "train_size": 400, "label_noise": 0.2,
    "batch_size": 32, "steps": 400,
}  # fmt: skip
BASES: dict[str, dict[str, Any]] = {
    "cifar-momentum": _CIFAR,
    "cifar-adamw": {**_CIFAR, "optimizer": "adamw"},
    "cifar-batchnorm": {**_CIFAR, "norm": "batch"},
    "clusters-sgd": {**_TABLE, "optimizer": "sgd", "table": ("clusters", 24, 5, 1)},
    "tree-adamw": {**_TABLE, "optimizer": "adamw", "table": ("tree", 24, 5, 1)},
    "conv-momentum": {**_CIFAR, "network": "cnn3", "width": 6, "steps": 200},
    "cifar16-momentum": {**_CIFAR, "resolution": 16, "rate": 0.5},
}
"""What stars are around."""

RAYS: dict[str, Sequence[Any]] = {
    "width": (16, 32, 64, 128, 256, 512),
    "depth": (0, 1, 2, 3, 4),
    "norm": ("none", "batch", "layer"),
    "train_size": (60, 150, 400, 1000, 3000, 8000, 20000),
    "label_noise": (0.0, 0.1, 0.2, 0.3, 0.45, 0.6),
    "steps": (100, 200, 400, 800, 1600),
    "batch_size": (16, 32, 64, 128, 256),
    "rate": (0.25, 0.5, 1.0, 2.0, 4.0),
    "optimizer": tuple(OPTIMIZERS),
    "lr_schedule": ("cosine", "linear", "constant"),
}
"""Levels of each factor; that of the base is left out."""
_SIZE_RAYS: dict[str, Sequence[Any]] = {"width": (16, 256, 1024)}
_CONV_RAYS: dict[str, Sequence[Any]] = {
    "width": (3, 12, 18),
    "norm": ("batch", "layer"),
    "train_size": (150, 400, 3000, 8000),
    "label_noise": (0.0, 0.45),
    "steps": (100, 400),
    "rate": (0.5, 2.0),
    "optimizer": ("sgd", "adamw"),
}
_SPECIAL_RAYS = {"conv-momentum": _CONV_RAYS, "cifar16-momentum": _SIZE_RAYS}
_MORE_RAYS: dict[str, Sequence[Any]] = {
    "clusters": [("clusters", *size) for size in ((24, 5, 2), (24, 5, 3), (8, 2, 4), (80, 12, 5))],
    "tree": [("tree", *size) for size in ((24, 5, 2), (24, 5, 3), (8, 2, 4), (80, 12, 5))],
    "cifar": (4, 16),
}
"""Further data: worlds of a table, pixels of an image."""

SHARES = {
    "cifar": 30, "conv": 10, "clusters": 18, "teacher": 18, "tree": 18, "signal": 16, "sparse": 16, "rules": 8
}  # fmt: skip
"""Drawn cells of each family, before the number that is asked for scales them."""


def design(drawn: int = sum(SHARES.values()), seed: int = 0) -> list[Cell]:
    """All cells, stars first.

    Args:
        drawn: cells of which all factors are drawn.
        seed: of these.
    """
    cells = [cell for base in BASES for cell in _star(base)]
    shares = np.array(list(SHARES.values()), float)
    ends = np.round(np.cumsum(shares) / shares.sum() * drawn).astype(int)
    families = [name for name, count in zip(SHARES, np.diff([0, *ends]), strict=True) for _ in range(count)]
    for number, family in enumerate(families):
        task = task_of(_drawn(family, np.random.default_rng([seed, number])))
        cells.append(Cell(f"drawn-{number:03d}", family, DRAWN, DRAWN, "", task))
    return cells


def _family(settings: Mapping[str, Any]) -> str:
    if "table" in settings:
        return str(settings["table"][0])
    return "conv" if settings["network"] == "cnn3" else "cifar"


def _star(name: str) -> Iterator[Cell]:
    base = BASES[name]
    family = _family(base)
    yield Cell(name, family, name, BASE, "", task_of(base))
    rays = dict(_SPECIAL_RAYS.get(name, RAYS))
    if rays == RAYS:
        rays["table" if "table" in base else "resolution"] = _MORE_RAYS[family]
    defaults = {"rate": 1.0, "lr_schedule": "cosine"}
    for factor, levels in rays.items():
        for level in levels:
            if level == base.get(factor, defaults.get(factor)):
                continue
            text = "x".join(map(str, level[1:])) if isinstance(level, tuple) else f"{level}"
            yield Cell(
                f"{name}:{factor}={text}", family, name, factor, text, task_of({**base, factor: level})
            )


def _drawn(family: str, rng: np.random.Generator) -> dict[str, Any]:
    """Settings of a cell, drawn until it is small enough."""
    while True:
        settings = _draw(family, rng)
        width, depth = settings["width"], settings["depth"]
        inputs = settings["table"][1] if "table" in settings else 3 * settings["resolution"] ** 2
        weights = inputs * width + max(0, depth - 1) * width**2 if depth else 10 * inputs
        if family == "conv":
            weights = 100 * inputs * width  # products, as each filter is used at each pixel
        if weights * settings["batch_size"] * settings["steps"] <= MOST_WORK:
            return settings


def _draw(family: str, rng: np.random.Generator) -> dict[str, Any]:
    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    def one_of(values: Sequence[Any]) -> Any:
        return values[int(rng.integers(len(values)))]

    settings: dict[str, Any] = {
        "network": "mlp",
        "width": round(between(16, 512)),
        "depth": one_of((0, 1, 1, 2, 2, 3, 4)),
        "norm": one_of(("none", "none", "none", "batch", "layer")),
        "train_size": round(between(60, 20_000)),
        "label_noise": one_of((0.0, 0.0, 0.1, 0.2, 0.3, 0.45, 0.6)),
        "optimizer": one_of(tuple(OPTIMIZERS)),
        "rate": between(0.3, 3.0),
        "lr_schedule": one_of(("cosine", "cosine", "linear", "constant")),
        "batch_size": one_of((16, 32, 64, 128, 256)),
        "steps": round(between(100, 1600)),
    }
    if family == "rules":  # learned by heart first, understood late
        sizes = {
            "train_size": round(between(80, 400)),
            "steps": round(between(700, 1600)),
            "label_noise": 0.0,
        }
        settings |= sizes | {"table": ("rules", round(between(24, 80)), one_of((2, 3, 4, 5)))}
    elif family == "conv":
        settings |= {"network": "cnn3", "width": round(between(3, 24)), "resolution": 8}
    elif family == "cifar":
        settings["resolution"] = one_of((4, 8, 8, 16))
    else:
        settings["table"] = (family, round(between(8, 100)), round(between(2, 20)))
    if "table" in settings:
        settings["table"] += (int(rng.integers(100, 1_000_000)),)
    return settings
