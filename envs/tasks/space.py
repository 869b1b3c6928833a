"""Where tasks come from: a list, or a distribution over any fields of a task."""

from __future__ import annotations

import dataclasses
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, product
from typing import Any, TypeVar

import numpy as np

from lambda_rl.checks import shown
from lambda_rl.envs.networks import NETWORKS
from lambda_rl.envs.tasks.fields import shown_name
from lambda_rl.envs.tasks.task import Task, field_types, may_range
from lambda_rl.envs.tasks.variations import VARIATIONS, Variation, is_number

MAX_SEED = 2**31
"""Seeds that are drawn lie below it and above ``MIN_SEED``."""
MIN_SEED = 10**6
"""Seeds below it are for lists: validation, tuning and comparison."""

MOST_CHECKED = 100_000
"""Tasks that are made to check a distribution; one that would need more is refused."""

_OPTIONS = "network_options"
# A task checks these in combination.
_TOGETHER = ("steps", "decisions", "penalty", "decay", "network", _OPTIONS)

V = TypeVar("V")


def _outermost(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The smallest and largest of numbers; all of other values."""
    return (min(values), max(values)) if all(map(is_number, values)) else values


def _distinct(values: Iterable[V]) -> tuple[V, ...]:
    """Without repetition, in order of appearance; 1 and True are not the same."""
    return tuple({(type(value), value): value for value in values}.values())


@dataclass(frozen=True)
class TaskList:
    """Tasks that are all named.

    Attributes:
        tasks: at least one.

    Raises:
        ValueError: there are none.
    """

    tasks: tuple[Task, ...]

    def __post_init__(self) -> None:
        """Checks that there is a task."""
        object.__setattr__(self, "tasks", tuple(self.tasks))
        if not self.tasks or not all(isinstance(task, Task) for task in self.tasks):
            raise ValueError(f"a list of tasks must have at least one task, got {shown(self.tasks)}")

    def sample(self, rng: np.random.Generator) -> Task:
        """One of the list, with a seed of its own."""
        task = self.tasks[int(rng.integers(len(self.tasks)))]
        return task.with_seed(int(rng.integers(MIN_SEED, MAX_SEED)))

    @property
    def names(self) -> list[str]:
        """One name a task, in order, each different."""
        names = [task.name for task in self.tasks]
        count = Counter(names)
        seen: Counter[str] = Counter()
        for i, name in enumerate(names):
            if count[name] > 1:
                seen[name] += 1
                names[i] = f"{name}#{seen[name]}"
        return names

    @property
    def largest(self) -> tuple[Task, ...]:
        """Tasks that want as many images as any."""
        return self.tasks

    def extremes(self) -> tuple[Task, ...]:
        """Tasks that between them have every value of every field."""
        return self.tasks


@dataclass(frozen=True)
class TaskSpace:
    """Tasks drawn at random, over any fields of a task.

    A base is drawn first, then the fields in the order in which they are written, then the seed. Where a field is a
    whole number, what is drawn is rounded. An option of the network varies in those bases whose network has it. A base
    may have fields vary in a way of its own: in the place of the common one, or after all of those.

    >>> space = TaskSpace((Task(width=8), Task(width=16)), {"train_size": LogUniform((100, 1000))})
    >>> [(task.width, task.train_size) for task in space.extremes()]
    [(8, 100), (8, 1000), (16, 100), (16, 1000)]

    Attributes:
        bases: tasks that fields which do not vary are taken from.
        vary: names of fields, or ``network_options.NAME`` for one option, to how they vary.
        weights: whole numbers, how likely each base is; none: all alike.
        own: for each base, what varies in a way of its own; none: nothing does.

    Raises:
        ValueError: a field that does not exist, or values that make no task.
    """

    bases: tuple[Task, ...]
    vary: Mapping[str, Variation] = dataclasses.field(default_factory=dict)
    weights: tuple[int, ...] = ()
    own: tuple[Mapping[str, Variation], ...] = ()

    def __post_init__(self) -> None:
        """Checks fields, weights, and that all that can be drawn is a task."""
        object.__setattr__(self, "bases", tuple(self.bases))
        object.__setattr__(self, "vary", dict(self.vary))
        object.__setattr__(self, "weights", tuple(self.weights))
        object.__setattr__(self, "own", tuple(map(dict, self.own)))
        if not self.bases or not all(isinstance(base, Task) for base in self.bases):
            raise ValueError(f"a distribution must have at least one base task, got {shown(self.bases)}")
        if self.weights and not (
            len(self.weights) == len(self.bases)
            and all(type(weight) is int and 1 <= weight <= 10**6 for weight in self.weights)
        ):
            raise ValueError(
                f"weights must be {len(self.bases)} whole numbers from 1 to 1,000,000, one a base, "
                f"got {shown(self.weights)}"
            )
        if self.own and len(self.own) != len(self.bases):
            raise ValueError(f"own must have {len(self.bases)} mappings, one a base, got {len(self.own)}")
        for varied in (self.vary, *({**self.vary, **own} for own in self.own)):
            for field, variation in varied.items():
                self._check_field(field, variation, varied)
        for at in range(len(self.bases)):
            self._check_base(at)

    def _check_field(self, field: str, variation: Variation, varied: Mapping[str, Variation]) -> None:
        types = field_types()
        root, dot, option = str(field).partition(".")
        if root not in types or (dot and (root != _OPTIONS or not option.isidentifier())):
            raise ValueError(
                f"unknown field {shown_name(field)} to vary; allowed are {', '.join(types)}, {_OPTIONS}.NAME"
            )
        if root == "seed":
            raise ValueError("the seed cannot be varied: every task that is drawn has one of its own")
        if dot and root in varied:
            raise ValueError(f"{root} and {field} cannot both vary")
        if not isinstance(variation, tuple(VARIATIONS[name] for name in VARIATIONS)):
            raise ValueError(f"{field} must vary by one of {', '.join(VARIATIONS)}; got {shown(variation)}")
        if variation.numeric and not dot and not may_range(root):
            raise ValueError(f"{field} cannot vary over a range; give a choice")
        if field not in (getattr(variation, "fields", ()) or (field,)):
            raise ValueError(f"{field} cannot vary so; {', '.join(variation.fields)} can")  # type: ignore[attr-defined]

    def _varied(self, at: int) -> dict[str, Variation]:
        """What varies in a base: not options that its network lacks, if another base's network has them."""
        base = self.bases[at]
        common = {
            field: variation
            for field, variation in self.vary.items()
            if _has(base, field) or not any(_has(other, field) for other in self.bases)
        }
        return {**common, **(self.own[at] if self.own else {})}

    def _check_base(self, at: int) -> None:
        """Makes a task of every end of every field, and of all combinations where fields depend on each other."""
        base, where = self.bases[at], f"base {at + 1}"
        varied = self._varied(at)
        for field, variation in varied.items():
            if variation.numeric and not is_number(_value(base, field)):
                raise ValueError(
                    f"{where} must have a number for {field}, which varies over a range around it"
                )
        corners = {
            field: _outermost(self._ends(at, field))
            for field in varied
            if field.partition(".")[0] in _TOGETHER
        }
        covering = self._covering(at)
        if len(self.bases) * (len(covering) + math.prod(map(len, corners.values()))) > MOST_CHECKED:
            raise ValueError(f"there are more than {MOST_CHECKED:,} combinations of bases and values")
        for drawn in (
            *covering,
            *(dict(zip(corners, values, strict=True)) for values in product(*corners.values())),
        ):
            try:
                _changed(base, drawn)
            except ValueError as error:
                raise ValueError(f"{where}: {str(error).removeprefix('task: ')}") from None

    def _covering(self, at: int) -> list[dict[str, Any]]:
        """As few combinations of values as have every choice and both ends of every range."""
        ends = {field: self._ends(at, field) for field in self._varied(at)}
        count = max(map(len, ends.values()), default=1)
        return [{field: values[i % len(values)] for field, values in ends.items()} for i in range(count)]

    def _ends(self, at: int, field: str) -> tuple[Any, ...]:
        value = _value(self.bases[at], field)
        variation = self._varied(at)[field]
        return tuple(_rounded(end, value) if variation.numeric else end for end in variation.ends(value))

    def sample(self, rng: np.random.Generator) -> Task:
        """One task, its seed drawn too."""
        if self.weights:
            at = bisect_right(list(accumulate(self.weights)), int(rng.integers(sum(self.weights))))
        else:
            at = int(rng.integers(len(self.bases)))
        base = self.bases[at]
        drawn = {}
        for field, variation in self._varied(at).items():
            value = _value(base, field)
            new = variation.draw(rng, value)
            drawn[field] = _rounded(new, value) if variation.numeric else new
        drawn["seed"] = int(rng.integers(MIN_SEED, MAX_SEED))
        return _changed(base, drawn)

    def extremes(self) -> tuple[Task, ...]:
        """Tasks that between them have every choice, and both ends of every range, of every field."""
        return _distinct(
            _changed(base, drawn) for at, base in enumerate(self.bases) for drawn in self._covering(at)
        )

    @property
    def largest(self) -> tuple[Task, ...]:
        """Tasks that want as many images, of each data set at each resolution, as any that can be drawn."""
        made = []
        for at, base in enumerate(self.bases):
            varied = self._varied(at)
            sizes: dict[str, Any] = {
                name: max(self._ends(at, name)) for name in ("train_size", "val_size") if name in varied
            }
            kinds = {name: self._ends(at, name) for name in ("data", "resolution") if name in varied}
            made += [
                _changed(base, {**sizes, **dict(zip(kinds, kind, strict=True))})
                for kind in product(*kinds.values())
            ]
        return _distinct(made)

    @property
    def names(self) -> list[str]:
        """Empty: the tasks of a distribution have no names."""
        return []


TaskSource = TaskList | TaskSpace


def bounds(source: TaskSource) -> dict[str, tuple[Any, ...]]:
    """For every field of a task what a source can give: all values, or the ends of a range, in no special order."""
    tasks = source.extremes()
    return {field: _distinct(getattr(task, field) for task in tasks) for field in field_types()}


def _value(base: Task, field: str) -> Any:
    """What a task has in a field; None for an option that it does not name."""
    root, _, option = field.partition(".")
    value = getattr(base, root)
    return dict(value).get(option) if option else value


def _has(task: Task, field: str) -> bool:
    """Whether a task has a field, or its network that option."""
    root, _, option = field.partition(".")
    return root != _OPTIONS or not option or option in NETWORKS[task.network].options


def _rounded(value: float, like: Any) -> float:
    """The value, rounded if ``like`` is a whole number."""
    return round(value) if isinstance(like, int) else value


def _changed(base: Task, drawn: Mapping[str, Any]) -> Task:
    """The base with other values; names as in :attr:`TaskSpace.vary`."""
    fields = {field: value for field, value in drawn.items() if "." not in field}
    options = {field.partition(".")[2]: value for field, value in drawn.items() if "." in field}
    if options:
        fields[_OPTIONS] = {**dict(base.network_options), **options}
    return dataclasses.replace(base, **fields)
