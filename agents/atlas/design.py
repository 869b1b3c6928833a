"""Which cells the atlas has: one factor at a time around a few bases, and cells in which all factors are drawn.

A star around a base shows what one factor does; drawn cells show how far that holds elsewhere, and keep a law from
being fitted to a few lines through one point. Bases, rays and optimizers are in design.yaml.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lambda_rl.envs.data.tables import TableSize, table_name
from lambda_rl.envs.networks import NETWORKS
from lambda_rl.envs.tasks.files import read_yaml
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

_DESIGN = read_yaml(Path(__file__).with_name("design.yaml"))
OPTIMIZERS: dict[str, dict[str, Any]] = _DESIGN["optimizers"]
"""Fields of a task, by the names that cells have for their optimizers."""
BASES: dict[str, dict[str, Any]] = _DESIGN["bases"]
"""What stars are around."""
SHARES: dict[str, int] = {family: told["cells"] for family, told in _DESIGN["drawn"].items()}
"""Drawn cells of each family, before the number that is asked for scales them."""


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
        """A name of :data:`OPTIMIZERS`."""
        task, rate = self.task, {"learning_rate": self.task.learning_rate}
        return next(name for name, told in OPTIMIZERS.items() if replace(task, **told | rate) == task)

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
        return int(self.option("depth", 2)) - 1 if _any_depth(self.task.network) else 2

    def digest(self, more: object) -> str:
        """Of all that its rows depend on, ``more`` among it; a field that tasks come to have later changes nothing."""
        told = {name: value for name, value in asdict(self.task).items() if value != getattr(_DEFAULTS, name)}
        text = json.dumps([told, more], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _any_depth(network: str) -> bool:
    return "depth" in NETWORKS[network].options


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
    if _any_depth(fields["network"]):
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
    return "conv" if NETWORKS[settings["network"]].convolutional else "cifar"


def _star(name: str) -> Iterator[Cell]:
    base = BASES[name]
    family = _family(base)
    yield Cell(name, family, name, BASE, "", task_of(base))
    rays = _DESIGN["special_rays"].get(name) or _DESIGN["rays"] | _DESIGN["data_rays"][family]
    defaults = {"rate": 1.0, "lr_schedule": "cosine"}
    for factor, levels in rays.items():
        for level in levels:
            if level == base.get(factor, defaults.get(factor)):
                continue
            text = "x".join(map(str, level[1:])) if isinstance(level, list) else f"{level}"
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
        "network": _DESIGN["drawn"][family]["network"],
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
        settings |= {"width": round(between(3, 24)), "resolution": 8}
    elif family == "cifar":
        settings["resolution"] = one_of((4, 8, 8, 16))
    else:
        settings["table"] = (family, round(between(8, 100)), round(between(2, 20)))
    if "table" in settings:
        settings["table"] += (int(rng.integers(100, 1_000_000)),)
    return settings
