"""Tables whose classes follow a hidden rule: networks learn the rows by heart first, and the rule late, if at all.

Among categories that say nothing a few tell the class, and only all of them together: any one of them missing, the
class is left to chance. With two classes the rule is a sparse parity, whose late discovery weight decay brings about or
hastens (Barak et al. 2022, arXiv:2207.08799; Merrill et al. 2023, arXiv:2303.11873).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from lambda_rl.envs.data.tables import TABLES, Floats, Labels, Rows, TableSize

MOST_TELLING = 3
"""Categories that the class of a parity depends on, at most; with more classes it is two, for there are more cases."""


@TABLES.register("rules")
def rules(rng: np.random.Generator, size: TableSize) -> Rows:
    """Categories of which two or three together tell the class, by Latin squares drawn at random.

    There are as many categories as classes. With two, each is a number; with more, each is as many numbers of which one
    is 1, if two of them have room, else a number too.
    """
    classes = size.classes
    wide = classes if 2 < classes <= size.inputs // 2 else 1
    count = size.inputs // wide
    telling = min(count, int(rng.integers(2, MOST_TELLING + 1)) if classes == 2 else 2)
    which = rng.permutation(count)[:telling]
    squares = [latin_square(rng, classes) for _ in range(telling - 1)]
    noise = float(np.exp(rng.uniform(np.log(0.02), np.log(0.3))))
    place = rng.permutation(size.inputs)

    def rows(draw: np.random.Generator, number: int) -> tuple[Floats, Labels]:
        categories = draw.integers(classes, size=(number, count))
        labels = categories[:, which[0]]
        for square, other in zip(squares, which[1:], strict=True):
            labels = square[labels, categories[:, other]]
        values = noise * draw.standard_normal((number, size.inputs))
        told = np.eye(classes)[categories] if wide > 1 else 2.0 * categories / (classes - 1) - 1.0
        values[:, : count * wide] += told.reshape(number, -1)
        return values[:, place], np.asarray(labels, np.int64)

    return rows


def latin_square(rng: np.random.Generator, size: int) -> npt.NDArray[np.int64]:
    """A square ``[size, size]`` with each number once in every row and column; not only those of cyclic groups."""
    free = np.ones((size, size), np.bool_)  # which column may still have which number
    square = np.zeros((size, size), np.int64)
    for row in square:
        # Hall: each column and number have equally many partners left, so that there always is a matching.
        columns, numbers = linear_sum_assignment(np.where(free, rng.random((size, size)), size))
        row[columns] = numbers
        free[columns, numbers] = False
    return square
