"""A result as a JSON file of one data class, which is checked when it is read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def to_json(found: Any) -> str:
    """The text of the file of a data class."""
    return json.dumps(dataclasses.asdict(found), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load_typed(kind: type[T], path: str | Path, what: str, version: int) -> T:
    """Reads a file.

    Args:
        kind: the data class, with a ``format_version``.
        path: the file.
        what: it should be, in words, such as "a summary of foreign runs".
        version: of the format that this program reads.

    Raises:
        OSError: there is none.
        ValueError: it is something else.
    """
    try:
        found: Any = TypeAdapter(kind).validate_json(Path(path).read_bytes(), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path}: not {what}: {first['loc']}: {first['msg']}") from None
    if found.format_version != version:
        raise ValueError(f"{path}: format {found.format_version}, this program reads {version}")
    return cast(T, found)
