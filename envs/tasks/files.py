"""Suite files: YAML, read so that a file says what it seems to say and cannot do harm.

A list of tasks::

    name: mine                                  # without it, the file's name
    defaults: {network: mlp, steps: 300}        # of all tasks
    tasks: [{width: 32}, {width: 64}]           # each …
    grid: {train_size: [500, 2000], label_noise: [0, 0.2]}   # … with each combination; the last field changes fastest
    include: [cifar-cnn-validation]             # all tasks of built-in lists, which come first

A distribution of tasks::

    defaults: {network: mlp}
    bases: [{width: 32, learning_rate: 0.05}, {width: 128, vary: {steps: {choice: [100, 200]}}}]
    weights: [2, 1]                             # how likely each base is; it may vary in ways of its own, as the second
    vary:                                       # drawn in this order, see lambda_rl.envs.tasks.space
      train_size: {log-uniform: [300, 20000]}
      label_noise: {choice: [0, 0.2, 0.4]}
      learning_rate: {times-log-uniform: [0.5, 2]}
      network_options.depth: {choice: [1, 2]}   # one option of the network
      steps: 300                                # const
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from lambda_rl.checks import shown
from lambda_rl.envs.data.split import FOLDS, Fold
from lambda_rl.envs.tasks.fields import shown_name
from lambda_rl.envs.tasks.space import TaskList, TaskSource, TaskSpace
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.tasks.variations import VARIATIONS, Const, Variation

LIST_KEYS = ("include", "tasks", "grid")
SPACE_KEYS = ("bases", "weights", "vary")
MOST_TASKS = 10_000
MOST_VALUES = 100_000
MOST_NESTED = 12

_INT, _FLOAT, _TIME = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp"))


class _Loader(yaml.SafeLoader):
    """Reads numbers as YAML 1.2 does (``0400`` and ``5:00`` are texts); refuses double keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys are texts or numbers, each there once."""
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _fault("a key must be a text", key.start_mark)
            if key.value in seen:
                raise _fault(f"the key {shown_name(key.value)} is there twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_INT, _FLOAT, _TIME)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# Longer whole numbers stay texts, and are refused as such: nothing that is meant has 19 digits.
_Loader.add_implicit_resolver(_INT, re.compile(r"^[-+]?(0|[1-9][0-9_]{0,17})$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    _FLOAT,
    re.compile(
        r"^([-+]?((0|[1-9][0-9_]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def _fault(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


def _refuse_tags_and_depth(text: str) -> None:
    """Before anything is composed, which is recursive."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise _fault(f"tags are not allowed: {tag}", event.start_mark)
        if isinstance(event, yaml.NodeEvent) and depth >= MOST_NESTED:
            raise _fault(f"nested more than {MOST_NESTED} deep", event.start_mark)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)


def _unfolded(node: yaml.Node, known: dict[int, float]) -> float:
    """How many values a node has when its aliases are written out; infinite if it is an alias inside itself."""
    if id(node) not in known:
        known[id(node)] = math.inf
        inside = node.value if isinstance(node, (yaml.SequenceNode, yaml.MappingNode)) else []
        parts = [part for item in inside for part in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_unfolded(part, known) for part in parts)
    return known[id(node)]


def read_yaml(path: Path) -> Any:
    """The content of a YAML file.

    Raises:
        ValueError: the file is not valid YAML, or has tags, double keys or too much; the message names the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_tags_and_depth(text)
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            if _unfolded(node, {}) > MOST_VALUES:
                raise ValueError(f"its aliases unfold to more than {MOST_VALUES:,} values")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError) as error:  # bytes that are no UTF-8 are a ValueError
        raise ValueError(f"suite file {path}: not valid YAML: {' '.join(str(error).split())}") from None


class SuiteContent(NamedTuple):
    """What a suite file says.

    Attributes:
        name: its name; empty if the file does not say.
        fold: which images its runs are cut from; None if the file does not say.
        source: its tasks.
    """

    name: str
    fold: Fold | None
    source: TaskSource


def read_suite(path: Path, include: Callable[[str], tuple[Task, ...]], *, builtin: bool) -> SuiteContent:
    """Reads a suite file.

    Args:
        path: the file.
        include: gives the tasks of a built-in list; raises ValueError if there is none of that name.
        builtin: the file may say its fold.

    Raises:
        ValueError: the file is not a suite; the message names the file, the place and what is allowed.
    """
    where = f"suite file {path}"
    content = read_yaml(path)
    keys = ("name", *(("fold",) if builtin else ()), "defaults", *LIST_KEYS, *SPACE_KEYS)
    if not isinstance(content, dict):
        raise ValueError(
            f"{where}: must be a mapping with `tasks:` or `bases:`, got {type(content).__name__}"
        )
    unknown = sorted(shown_name(key) for key in content if key not in keys)
    if unknown:
        raise ValueError(f"{where}: unknown field {', '.join(unknown)}; allowed are {', '.join(keys)}")
    listing = [key for key in LIST_KEYS if key in content]
    drawing = [key for key in SPACE_KEYS if key in content]
    if listing and drawing:
        raise ValueError(
            f"{where}: a suite is a list (`{listing[0]}:`) or a distribution (`{drawing[0]}:`), not both"
        )
    fold = content.get("fold")
    if fold is not None and fold not in FOLDS:
        raise ValueError(f"{where}: `fold:` must be one of {', '.join(FOLDS)}; got {shown(fold)}")
    defaults = _mapping(content.get("defaults") or {}, f"{where}: `defaults:`")
    name = _text(content.get("name"), where)
    if drawing:
        return SuiteContent(name, fold, _space(content, defaults, where))
    return SuiteContent(name, fold, TaskList(_listed(content, defaults, include, where)))


def _text(name: Any, where: str) -> str:
    if name is None:
        return ""
    if isinstance(name, bool) or not isinstance(name, (str, int)):
        raise ValueError(f"{where}: `name:` must be a text, got {shown(name)}")
    return str(name)


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a mapping of task fields, got {shown(value)}")
    return value


def _some(value: Any, where: str, of: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{where} must be a list of at least one {of}, got {shown(value)}")
    return value


def _listed(
    content: Mapping[str, Any],
    defaults: dict[str, Any],
    include: Callable[[str], tuple[Task, ...]],
    where: str,
) -> tuple[Task, ...]:
    """The tasks of a list."""
    made: list[Task] = []
    if "include" in content:
        for name in _some(content["include"], f"{where}: `include:`", "name of a built-in list of tasks"):
            if not isinstance(name, str):
                raise ValueError(f"{where}: `include:` must have names of built-in lists, got {shown(name)}")
            try:
                made += include(name)
            except ValueError as error:
                raise ValueError(f"{where}: `include:` {error}") from None
        if not {"tasks", "grid"} & set(content):
            return tuple(made)
    grid = {
        field: _some(values, f"{where}: `grid:` {shown_name(field)}", "value")
        for field, values in _mapping(content.get("grid", {}), f"{where}: `grid:`").items()
    }
    items = _some(content.get("tasks", [{}] if grid else None), f"{where}: `tasks:`", "task")
    count = len(made) + len(items) * math.prod(map(len, grid.values()))
    if count > MOST_TASKS:
        raise ValueError(f"{where}: {count:,} tasks are more than the {MOST_TASKS:,} that a list may have")
    for number, item in enumerate(items, 1):
        place = f"{where}, task {number}"
        fields = _mapping(item, f"{place}:")
        double = sorted(shown_name(field) for field in set(fields) & set(grid))
        if double:
            raise ValueError(f"{place}: {', '.join(double)} stands in `grid:` too")
        for values in product(*grid.values()):
            combination = dict(zip(grid, values, strict=True))
            told = ", ".join(f"{shown_name(field)}={shown(value)}" for field, value in combination.items())
            made.append(
                Task.from_mapping(
                    {**defaults, **fields, **combination}, f"{place} with {told}" if told else place
                )
            )
    return tuple(made)


def _space(content: Mapping[str, Any], defaults: dict[str, Any], where: str) -> TaskSpace:
    """The distribution of a file."""
    bases, own = [], []
    for number, item in enumerate(
        _some(content.get("bases", [{}]), f"{where}: `bases:`", "mapping of task fields"), 1
    ):
        place = f"{where}, base {number}"
        fields = dict(_mapping(item, f"{place}:"))
        own.append(_varied(fields.pop("vary", None), f"{place}: `vary:`"))
        bases.append(Task.from_mapping({**defaults, **fields}, place))
    weights = content.get("weights", [])
    if not isinstance(weights, list):
        raise ValueError(f"{where}: `weights:` must be a list of whole numbers, got {shown(weights)}")
    vary = _varied(content.get("vary"), f"{where}: `vary:`")
    try:
        return TaskSpace(tuple(bases), vary, tuple(weights), tuple(own) if any(own) else ())
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _varied(value: Any, where: str) -> dict[str, Variation]:
    """How fields vary, by name."""
    found = {}
    for field, way in _mapping(value or {}, where).items():
        try:
            found[field] = _variation(way)
        except ValueError as error:
            raise ValueError(f"{where} {shown_name(field)}: {error}") from None
    return found


def _variation(value: Any) -> Variation:
    """How a field varies: a mapping of one word to its argument, or a value, which then is constant."""
    if isinstance(value, list):
        raise ValueError(f"a list must stand behind a word, as in {{choice: {shown(value)}}}")
    if not isinstance(value, dict):
        return Const(value)
    if len(value) != 1:
        raise ValueError(f"must be a mapping of one word ({', '.join(VARIATIONS)}), got {shown(value)}")
    ((word, argument),) = value.items()
    try:
        made: Variation = VARIATIONS.get(word)(argument)
    except ValueError as error:
        known = isinstance(word, str) and word in VARIATIONS
        raise ValueError(f"{word} {error}" if known else str(error)) from None
    return made
