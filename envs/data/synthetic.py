"""CIFAR-shaped images drawn from a seed: the data set that needs no download.

An image shows the coarse pattern of its class and one of the class's several fine ones (its modes), faint
under smooth random fields of much more variance, a change of brightness, contrast and colour, and pixel
noise. So a small network that fits a few hundred such images learns mostly nuisance: it overfits, and how
much regularization is best depends on how many images there are and how clean their labels are. The coarse
pattern is one direction, which survives a strong penalty; the fine ones are many, need larger weights, and
pay only where clean images are plenty, as fine detail does in photographs. All patterns are mirror-symmetric,
so that flipping images is a valid augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUM_CLASSES = 10
NUM_TRAIN = 12_000
NUM_TEST = 4_000
IMAGE_SIZE = 32

_GRID = 16  # patterns and fields are drawn on this grid and enlarged to the image size
_CHUNK = 1_000  # images made at a time, which bounds the memory
_PARTS = {"train": NUM_TRAIN, "test": NUM_TEST}

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class SyntheticRecipe:
    """How images are made. Contrasts and spreads are in units of half the pixel range (127.5 grey levels).

    Attributes:
        num_modes: fine patterns that a class has; each image shows one of them.
        coarse: contrast of the pattern that all images of a class share.
        fine: contrast of the pattern of the image's mode.
        field: contrast of the smooth random fields laid over the patterns.
        shift: spread of the change of brightness; the three channels' own changes are half of it.
        contrast: the contrast of the scene is scaled by a uniform factor within 1 ± this.
        noise: spread of the pixel noise.
    """

    num_modes: int = 7
    coarse: float = 0.075
    fine: float = 0.14
    field: float = 0.36
    shift: float = 0.1
    contrast: float = 0.4
    noise: float = 0.7


def make_synthetic(
    seed: int, part: str, count: int | None = None, recipe: SyntheticRecipe | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Draw the training or the test images of a synthetic data set.

    Both parts share the patterns that `seed` gives, and nothing else; neither is needed to make the other.

    Args:
        seed: which data set, at least 0; 0 is the default one.
        part: "train" or "test".
        count: number of images; by default 12,000 for training, 4,000 for test.
        recipe: other strengths than the default.

    Returns:
        Images uint8 [count, 3, 32, 32] and labels int64 [count] in 0…9, equally many of each class (to within
        one), in random order.

    Raises:
        ValueError: a negative seed or an unknown part.
    """
    if seed < 0:
        raise ValueError(f"the seed of a synthetic data set must be at least 0, not {seed}")
    if part not in _PARTS:
        raise ValueError(f"unknown part {part!r} of a synthetic data set; allowed: {', '.join(_PARTS)}")
    recipe = recipe or SyntheticRecipe()
    count = _PARTS[part] if count is None else count

    rng = np.random.default_rng([seed, 0])
    coarse = _patterns(rng, NUM_CLASSES, 3)
    fine = _patterns(rng, NUM_CLASSES * recipe.num_modes, _GRID)

    rng = np.random.default_rng([seed, 1 + list(_PARTS).index(part)])
    labels = rng.permutation(np.arange(count, dtype=np.int64) % NUM_CLASSES)
    images = np.empty((count, 3, IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for start in range(0, count, _CHUNK):
        chunk = slice(start, start + _CHUNK)
        images[chunk] = _draw(rng, labels[chunk], coarse, fine, recipe)
    return images, labels


def _draw(
    rng: np.random.Generator,
    labels: npt.NDArray[np.int64],
    coarse: Floats,
    fine: Floats,
    recipe: SyntheticRecipe,
) -> npt.NDArray[np.uint8]:
    """One image for each label, uint8 [n, 3, 32, 32]."""
    n = len(labels)
    mode = labels * recipe.num_modes + rng.integers(recipe.num_modes, size=n)
    scene = np.float32(recipe.coarse) * coarse[labels] + np.float32(recipe.fine) * fine[mode]
    for side in (4, 8, _GRID):  # octaves, the coarser the stronger, as in photographs
        scene += np.float32(recipe.field * 2 / side) * _field(rng, n, side)
    scene *= rng.uniform(1 - recipe.contrast, 1 + recipe.contrast, (n, 1, 1, 1)).astype(np.float32)
    shift = rng.standard_normal((n, 1, 1, 1), np.float32) + 0.5 * rng.standard_normal(
        (n, 3, 1, 1), np.float32
    )
    scene += np.float32(recipe.shift) * shift
    image = _enlarge(scene, IMAGE_SIZE)
    # The sum of two uniform bytes is near enough to normal (spread 104.5), and much cheaper.
    noise = np.zeros(image.shape, np.float32)
    for _ in range(2):
        noise += rng.integers(256, size=image.shape, dtype=np.uint8)
    image += (noise - 255) * np.float32(recipe.noise / 104.5)
    return np.clip(image * 127.5 + 128, 0, 255).astype(np.uint8)


def _patterns(rng: np.random.Generator, count: int, side: int) -> Floats:
    """Mirror-symmetric random patterns [count, 3, grid, grid] of mean 0 and spread 1 each."""
    fields = _field(rng, count, side)
    fields = fields + fields[..., ::-1]
    flat = fields.reshape(count, -1).astype(np.float64)
    flat = (flat - flat.mean(1, keepdims=True)) / flat.std(1, keepdims=True)
    return flat.reshape(fields.shape).astype(np.float32)


def _field(rng: np.random.Generator, count: int, side: int) -> Floats:
    """Random fields [count, 3, grid, grid], smooth over `grid / side` cells."""
    # Most of the variance of photographs is in luminance, common to the three channels.
    cells = rng.standard_normal((count, 3, side, side), np.float32)
    cells += np.float32(1.5) * rng.standard_normal((count, 1, side, side), np.float32)
    return _enlarge(cells, _GRID)


def _enlarge(fields: Floats, size: int) -> Floats:
    """Bilinear enlargement of the last two axes; elementwise, so that rounding is the same everywhere."""
    for axis in (-2, -1):
        old = fields.shape[axis]
        if old == size:
            continue
        position = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        low = np.minimum(position.astype(np.int64), old - 2)
        weight = (position - low).astype(np.float32)
        weight = weight[:, None] if axis == -2 else weight
        fields = np.take(fields, low, axis) * (1 - weight) + np.take(fields, low + 1, axis) * weight
    return fields
