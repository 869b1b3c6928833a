"""Tables of numbers drawn from a seed: as many worlds to classify as there are seeds, made when they are asked for.

A table is a data set whose images have a channel for each input and one pixel, so that standardising each channel is
standardising each input. Each world draws for itself how many latent causes there are, how they are mixed, how far the
classes lie from each other and how unequal they are in number: from nearly all rows being told apart to few of them.
Training and test part are other rows of the same world.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lambda_rl.envs.data.cache import Part, to_part
from lambda_rl.envs.data.sets import DATA_SETS, DataSet, Dimensions, PartName, Places
from lambda_rl.registry import Registry

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

SHARE_OF_TEST = 0.25
"""Rows of the test part, over those of the training part."""

SPAN = 4.0
"""Deviations on either side of the mean that the 256 levels of a number reach."""

LIMITS = {"inputs": (2, 2_048), "classes": (2, 100), "rows": (50, 200_000)}

_STREAMS = {"train": 1, "test": 2}


@dataclass(frozen=True)
class TableSize:
    """How large a table is.

    Attributes:
        inputs: numbers in a row.
        classes: C.
        rows: of the training part.
    """

    inputs: int
    classes: int
    rows: int

    def __post_init__(self) -> None:
        """Refuses sizes out of their limits."""
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} must be a whole number from {low} to {high:,}, got {value!r}")


Rows = Callable[[np.random.Generator, int], tuple[Floats, Labels]]
"""Draws so many rows of a world: numbers ``[n, inputs]`` of any scale, and labels."""

TABLES: Registry[Callable[[np.random.Generator, TableSize], Rows]] = Registry("kind of table")
"""Kinds of worlds: a function that draws one, hence gives what draws rows of it."""


def table_name(kind: str, size: TableSize, seed: int) -> str:
    """The name of a table, as ``--data`` and ``Task.data`` take it."""
    return f"table:{kind}:{size.inputs}x{size.classes}x{size.rows}:{seed}"


@DATA_SETS.register("table")
class Table(DataSet):
    """A table drawn from a seed."""

    form = "table:KIND:INPUTSxCLASSESxROWS:SEED"
    generated = True

    def check(self) -> None:
        """Kind, sizes and seed are as they should be."""
        parts = (self.argument or "").split(":")
        sizes = parts[1].split("x") if len(parts) == 3 else []
        numbers = [*sizes, *parts[2:]]
        if len(sizes) != 3 or not all(n.isascii() and n.isdigit() and len(n) <= 15 for n in numbers):
            raise ValueError(f"data {self.spec!r}: must be {self.form}, as table:teacher:20x5x4000:7")
        try:
            self.world = TABLES[parts[0]]
            self.size = TableSize(*map(int, sizes))
        except ValueError as error:
            raise ValueError(f"data {self.spec!r}: {error}") from None
        self.seed = int(parts[2])

    @property
    def dimensions(self) -> Dimensions:
        """See :attr:`DataSet.dimensions`."""
        return Dimensions(self.size.rows, 1, self.size.inputs, self.size.classes)

    def make(self, part: PartName, places: Places) -> Part:
        """Draws the world, then rows of it."""
        kind = [*(self.argument or "").partition(":")[0].encode()]
        entropy = [self.seed, self.size.inputs, self.size.classes, *kind]
        rows = self.world(np.random.default_rng([0, *entropy]), self.size)
        count = self.size.rows if part == "train" else max(1, round(SHARE_OF_TEST * self.size.rows))
        values, labels = rows(np.random.default_rng([_STREAMS[part], *entropy]), count)
        reference = (
            values if part == "train" else rows(np.random.default_rng([1, *entropy]), self.size.rows)[0]
        )
        images = _levels(values, *_scale(reference))
        return to_part(images[:, :, None, None], labels, tuple(map(str, range(self.size.classes))))


def _scale(values: Floats) -> tuple[Floats, Floats]:
    """Mean and deviation of each input over the training part, so that both parts have the same levels."""
    return values.mean(0), values.std(0) + 1e-12


def _levels(values: Floats, mean: Floats, deviation: Floats) -> npt.NDArray[np.uint8]:
    """Numbers in 256 levels."""
    step = 127.5 / SPAN
    made = values * (step / deviation)
    made += 128.0 - mean * (step / deviation)
    return np.clip(made, 0, 255, out=made).astype(np.uint8)


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    """Uniform in the logarithm."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _frequencies(rng: np.random.Generator, classes: int) -> Floats:
    """How often each class is: in a third of the worlds all alike, else more or less unequal."""
    if rng.random() < 1 / 3:
        return np.full(classes, 1 / classes)
    drawn = rng.gamma(_between(rng, 0.7, 10.0), size=classes) + 0.05
    return np.asarray(drawn / drawn.sum())


@TABLES.register("clusters")
def clusters(rng: np.random.Generator, size: TableSize) -> Rows:
    """Some normal clusters a class, in a space of few dimensions that is mixed into all inputs, with noise."""
    latent = int(np.clip(round(_between(rng, 2, 24)), 2, size.inputs))
    per_class = int(rng.integers(1, 5))
    centres = rng.standard_normal((size.classes * per_class, latent))
    centres *= _between(rng, 1.0, 5.0) * (1 + np.log10(size.classes)) / np.sqrt(latent)
    spreads = np.exp(0.4 * rng.standard_normal((len(centres), latent)))
    mixing = rng.standard_normal((latent, size.inputs)) / np.sqrt(latent)
    noise = _between(rng, 0.03, 0.6)
    share = _frequencies(rng, size.classes)

    def rows(draw: np.random.Generator, count: int) -> tuple[Floats, Labels]:
        labels = draw.choice(size.classes, count, p=share)
        which = labels * per_class + draw.integers(per_class, size=count)
        values = centres[which] + spreads[which] * draw.standard_normal((count, latent))
        return values @ mixing + noise * draw.standard_normal((count, size.inputs)), labels

    return rows


def _causes(
    rng: np.random.Generator, inputs: int
) -> tuple[Callable[[np.random.Generator, int], Floats], Floats]:
    """Inputs that share some causes, and how much each of them counts: a law from few to all."""
    latent = max(2, round(inputs * rng.uniform(0.2, 1.0)))
    mixing = rng.standard_normal((latent, inputs)) / np.sqrt(latent)
    own = _between(rng, 0.1, 1.0)
    weight = rng.permutation(np.arange(1, inputs + 1.0) ** -rng.uniform(0.0, 1.0))

    def draw_inputs(draw: np.random.Generator, count: int) -> Floats:
        values = draw.standard_normal((count, latent)) @ mixing
        values += own * draw.standard_normal((count, inputs))
        return np.asarray(values / np.sqrt(1 + own**2))

    return draw_inputs, weight / np.linalg.norm(weight) * np.sqrt(inputs)


@TABLES.register("teacher")
def teacher(rng: np.random.Generator, size: TableSize) -> Rows:
    """Labels by a random network of one hidden layer, whose answer is noisy."""
    draw_inputs, weight = _causes(rng, size.inputs)
    hidden = round(_between(rng, 2, 32))
    first = rng.standard_normal((size.inputs, hidden)) * weight[:, None] / np.sqrt(size.inputs)
    first *= _between(rng, 0.5, 2.0)
    offset = rng.standard_normal(hidden)
    second = rng.standard_normal((hidden, size.classes)) / np.sqrt(hidden)
    tilt = rng.uniform(0.0, 0.5) * rng.standard_normal(size.classes)
    noise = _between(rng, 0.02, 0.5) if rng.random() < 0.8 else 0.0

    def rows(draw: np.random.Generator, count: int) -> tuple[Floats, Labels]:
        values = draw_inputs(draw, count)
        scores = np.tanh(values @ first + offset) @ second + tilt
        scores += noise * draw.standard_normal(scores.shape)
        return values, scores.argmax(1)

    return rows


@TABLES.register("tree")
def tree(rng: np.random.Generator, size: TableSize) -> Rows:
    """Labels by a tree of thresholds on single inputs, some of which are told wrongly."""
    draw_inputs, weight = _causes(rng, size.inputs)
    depth = int(np.clip(np.ceil(np.log2(size.classes)) + rng.integers(0, 3), 2, 8))
    used = rng.choice(size.inputs, min(size.inputs, round(_between(rng, 2, 12))), replace=False)
    chance = weight[used] / weight[used].sum()
    at = rng.choice(used, 2**depth - 1, p=chance)
    threshold = 0.5 * rng.standard_normal(2**depth - 1)
    leaves = np.concatenate([rng.permutation(size.classes) for _ in range(-(-(2**depth) // size.classes))])
    leaves = leaves[: 2**depth]
    wrong = rng.choice([0.0, 0.0, 0.05, 0.15, 0.3])

    def rows(draw: np.random.Generator, count: int) -> tuple[Floats, Labels]:
        values = draw_inputs(draw, count)
        node = np.zeros(count, np.int64)
        every = np.arange(count)
        for _ in range(depth):
            node = 2 * node + 1 + (values[every, at[node]] > threshold[node])
        labels = leaves[node - (2**depth - 1)]
        other = draw.random(count) < wrong
        labels = np.where(other, draw.integers(size.classes, size=count), labels)
        return values, np.asarray(labels, np.int64)

    return rows


@TABLES.register("signal")
def signal(rng: np.random.Generator, size: TableSize) -> Rows:
    """A template a class, a smooth curve, that is shifted, scaled and sheared under smooth and rough noise.

    In the manner of MNIST-1D (Greydanus & Kobak 2024, arXiv:2011.14439).
    """
    points, length = int(rng.integers(6, 14)), size.inputs
    templates = rng.standard_normal((size.classes, points))
    smooth, rough = _between(rng, 0.1, 1.0), _between(rng, 0.02, 0.3)
    stretch, room = rng.uniform(0.0, 0.4), rng.uniform(0.0, 0.5)
    share = _frequencies(rng, size.classes)

    def rows(draw: np.random.Generator, count: int) -> tuple[Floats, Labels]:
        labels = draw.choice(size.classes, count, p=share)
        width = (1 - room) * draw.uniform(1 - stretch, 1 + stretch, (count, 1))
        start = draw.uniform(0.0, np.maximum(1 - width, 0.0))
        place = (np.linspace(0, 1, length) - start) / width * (points - 1)
        inside = (place >= 0) & (place <= points - 1)
        low = np.clip(place.astype(np.int64), 0, points - 2)
        part = np.clip(place - low, 0.0, 1.0)
        curve = templates[labels]
        values = np.take_along_axis(curve, low, 1) * (1 - part) + np.take_along_axis(curve, low + 1, 1) * part
        values *= inside * draw.uniform(0.6, 1.4, (count, 1))
        values += 0.5 * draw.standard_normal((count, 1)) * np.linspace(-1, 1, length)
        coarse = max(2, length // 4)
        knots = np.clip(np.linspace(0, coarse - 1, length).round().astype(np.int64), 0, coarse - 1)
        values += smooth * draw.standard_normal((count, coarse))[:, knots]
        return values + rough * draw.standard_normal((count, length)), labels

    return rows


@TABLES.register("sparse")
def sparse(rng: np.random.Generator, size: TableSize) -> Rows:
    """A few inputs say the class, some are noisy copies of them, and all others say nothing."""
    telling = int(np.clip(round(_between(rng, 2, 16)), 2, size.inputs))
    copies = int((size.inputs - telling) * rng.uniform(0.0, 0.5))
    copied = rng.integers(telling, size=copies)
    sign = rng.choice([-1.0, 1.0], copies)
    apart = rng.standard_normal((size.classes, telling)) * _between(rng, 0.7, 3.0)
    bend = rng.standard_normal((telling, telling)) / np.sqrt(telling) * rng.choice([0.0, 0.5, 1.0])
    noise, place = _between(rng, 0.1, 1.0), rng.permutation(size.inputs)
    share = _frequencies(rng, size.classes)

    def rows(draw: np.random.Generator, count: int) -> tuple[Floats, Labels]:
        labels = draw.choice(size.classes, count, p=share)
        told = apart[labels] + draw.standard_normal((count, telling))
        told += np.tanh(told @ bend) * told
        values = draw.standard_normal((count, size.inputs))
        spread = told.std(0) + 1e-12
        values[:, :telling] = told
        values[:, telling : telling + copies] *= noise * spread[copied]
        values[:, telling : telling + copies] += sign * told[:, copied]
        return values[:, place], labels

    return rows
