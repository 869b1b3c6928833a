"""A result as a JSON file of one data class, which is checked when it is read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from lambda_rl.files import atomic_write

T = TypeVar("T", bound="TypedFile")


class TypedFile:
    """What the data class of a file inherits from; it has a ``format_version``.

    Attributes:
        what: the file is, in words, such as "a summary of foreign runs".
        version: of the format that this program reads and writes.
    """

    what: ClassVar[str]
    version: ClassVar[int] = 1

    def to_json(self) -> str:
        """The text of the file."""
        fields = dataclasses.asdict(cast(Any, self))
        return json.dumps(fields, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def save(self, path: Path) -> None:
        """Writes the file."""
        atomic_write(path, self.to_json())

    @classmethod
    def load(cls: type[T], path: str | Path) -> T:
        """Reads a file.

        Raises:
            OSError: there is none.
            ValueError: it is something else.
        """
        try:
            found: Any = TypeAdapter(cls).validate_json(Path(path).read_bytes(), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{path}: not {cls.what}: {first['loc']}: {first['msg']}") from None
        if found.format_version != cls.version:
            raise ValueError(f"{path}: format {found.format_version}, this program reads {cls.version}")
        return cast(T, found)
