"""Several environments' states and infos as those of one, and back.

Whatever an environment remembers it remembers slot by slot: in the dicts of its state, every list has an entry a slot.
So the state of a spread environment is that of one that is whole, and either goes on with the other's checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def joined_state(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The state of an environment whose slots are theirs, in a row."""
    return {
        key: joined_state([state[key] for state in states])
        if isinstance(value, Mapping)
        else [entry for state in states for entry in state[key]]
        for key, value in states[0].items()
    }


def parted_state(state: Mapping[str, Any], slots: slice) -> dict[str, Any]:
    """The state of some slots of an environment."""
    return {
        key: parted_state(value, slots) if isinstance(value, Mapping) else value[slots]
        for key, value in state.items()
    }


def joined_infos(infos: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> dict[str, Any]:
    """Infos of environments of so many slots as those of one: zeros where one of them tells nothing."""
    keys = dict.fromkeys(key for each in infos for key in each)
    return {key: _joined([each.get(key) for each in infos], counts) for key in keys}


def _joined(values: Sequence[Any], counts: Sequence[int]) -> Any:
    sample = next(value for value in values if value is not None)
    if isinstance(sample, Mapping):
        return joined_infos([{} if value is None else value for value in values], counts)
    empty = None if sample.dtype == object else 0
    return np.concatenate([
        np.full((count, *sample.shape[1:]), empty, sample.dtype) if value is None else value
        for value, count in zip(values, counts, strict=True)
    ])  # fmt: skip
