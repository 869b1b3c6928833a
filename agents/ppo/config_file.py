"""``config.yaml``: the options of a training run as plain values, and which of them a resumed run may change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.checks import shown
from lambda_rl.files import atomic_write

MAY_DIFFER_ON_RESUME = frozenset(
    {
        "data",
        "data_root",
        "threads",
        "ray",
        "ray_workers",
        "name",
        "out",
        "checkpoint_every",
        "preset",
        "wandb",
        "wandb_group",
        "wandb_tags",
        "wandb_notes",
    }
)
"""Options that do not change what is learned: where things lie, how many cores and whose, how often to save.

``data`` is among them because an archive may have moved; that its *content* is the same is checked by fingerprint.
``device`` and ``precision`` are not, since they change every number; nor is ``total_decisions``, which the learning
rate's schedule depends on.
"""

_OPTIONS = TypeAdapter(TrainConfig)


def to_dict(config: TrainConfig) -> dict[str, Any]:
    """All options as nested plain values (dicts, lists, numbers, text), fit for YAML."""
    found: dict[str, Any] = _OPTIONS.dump_python(config, mode="json")
    return found


def from_dict(mapping: Any, where: str = "config") -> TrainConfig:
    """Options from what :func:`to_dict` gave; those that are left out keep their defaults.

    Args:
        mapping: option names to values, nested.
        where: what to call it in an error.

    Raises:
        ValueError: unknown options, or values of the wrong type or out of range; the message names each.
    """
    try:
        return _OPTIONS.validate_json(json.dumps(mapping, default=str))
    except ValidationError as error:
        faults = "; ".join(_fault(item) for item in error.errors(include_url=False))
        raise ValueError(f"{where}: {faults}") from None
    except (TypeError, ValueError) as error:  # a list inside itself, or a key that is no text
        raise ValueError(f"{where}: {error}") from None


def _fault(item: Mapping[str, Any]) -> str:
    """One wrong option, by its dotted name."""
    name, what = ".".join(map(str, item["loc"])), item["msg"].removeprefix("Value error, ")
    if item["type"] == "unexpected_keyword_argument":
        return f"unknown option {name}"
    if item["type"] == "value_error":  # of the options' own checks, which name what is wrong
        return str(what)
    return f"{name or 'options'} {what.replace('Input should', 'must')}, got {shown(item['input'])}"


def save_config(path: Path, config: TrainConfig) -> None:
    """Writes ``config.yaml``."""
    text = yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)
    atomic_write(path, text, fsync=True)


def load_config(path: Path) -> TrainConfig:
    """Reads what :func:`save_config` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is not YAML, or not a configuration.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; is this a run folder?")
    try:
        mapping = yaml.safe_load(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path}: not a YAML file (it is nested too deeply)") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a number or date that cannot be
        raise ValueError(f"{path}: not a YAML file ({' '.join(str(error).split())})") from None
    return from_dict(mapping, str(path))


def differences(one: TrainConfig, other: TrainConfig) -> dict[str, tuple[Any, Any]]:
    """Options whose values differ, by dotted name, with both values."""
    left, right = _flat(to_dict(one)), _flat(to_dict(other))
    return {key: (value, right[key]) for key, value in left.items() if value != right[key]}


def check_resumable(saved: TrainConfig, wanted: TrainConfig, folder: Path) -> None:
    """Refuses to go on with a run under other options than it was started with.

    Raises:
        ValueError: an option outside :data:`MAY_DIFFER_ON_RESUME` differs; the message names each with both values.
    """
    different = {
        key: pair for key, pair in differences(saved, wanted).items() if key not in MAY_DIFFER_ON_RESUME
    }
    if different:
        listed = "; ".join(f"{key} was {was!r}, now {now!r}" for key, (was, now) in different.items())
        raise ValueError(
            f"{folder}: cannot resume, this folder holds a run of another configuration: {listed}. "
            f"Leave these options out, or start a new run."
        )


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
