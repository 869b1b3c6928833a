"""What the fields of a task say about themselves: rules of values, one-line errors, help.

A field is declared once, as ``Annotated[type, rule, Field(ge=…, le=…, description=…)]`` in a frozen pydantic dataclass.
Its errors, its line of ``--help``, its row in docs/suites.md and its entry in the JSON schema all come from there.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
)
from pydantic.fields import FieldInfo

from lambda_rl.checks import did_you_mean, shown

C = TypeVar("C", bound=type[Any])

_NUMBER = re.compile(r"[-+]?(\.\d+|(0|[1-9]\d*)(\.\d*)?)([eE][-+]?\d+)?", re.ASCII)


def shown_name(name: object) -> str:
    """A name of a field or option as an error shows it: cut short and without control characters."""
    return shown(name)[1:-1] if isinstance(name, str) else shown(name)


def number_of(text: str) -> float | str:
    """The number that a text says (``1e-3``), or the text."""
    return float(text) if _NUMBER.fullmatch(text) else text


@dataclass(frozen=True)
class OneOf:
    """Rule: one of some values, which are asked for whenever a value is checked, so that they may be registered later.

    Attributes:
        values: gives them.
    """

    values: Callable[[], tuple[Any, ...]]

    @property
    def rule(self) -> str:
        """What is allowed, as in "must be …"."""
        return f"one of {', '.join(map(str, self.values()))}"

    def check(self, value: Any) -> Any:
        """The value, if it is allowed.

        Raises:
            ValueError: it is not.
        """
        if value not in self.values():
            raise ValueError(f"must be {self.rule}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return AfterValidator(self.check).__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "enum": list(self.values())}


@dataclass(frozen=True)
class Spec(OneOf):
    """Rule: empty, or one of some names, with arguments after a colon or without.

    Attributes:
        forms: how all of them are written, for people.
        parse: raises ValueError for what is none of them.
    """

    forms: Callable[[], str]
    parse: Callable[[str], object]

    @property
    def rule(self) -> str:
        """What is allowed, as in "must be …"."""
        return f"empty or one of {self.forms()}"

    def check(self, value: Any) -> Any:
        """See :meth:`OneOf.check`."""
        if not value.isprintable():
            raise ValueError(f"must be {self.rule}")
        if value:
            self.parse(value)
        return value

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        names = "|".join(map(re.escape, self.values()))
        return {**handler(schema), "pattern": f"^(({names})(:.+)?)?$"}


@dataclass(frozen=True)
class Options:
    """Rule: a mapping of names to numbers, texts or true/false; kept as pairs, sorted by name.

    Attributes:
        names: which names there are, for people; whether a name is one of them is not checked here.
    """

    names: Callable[[], str]

    @property
    def rule(self) -> str:
        """What is allowed, as in "must be …"."""
        return f"a mapping of options to numbers, texts, true or false ({self.names()})"

    @staticmethod
    def pairs(value: Any) -> Any:
        """Pairs sorted by name, of a mapping or of pairs in any order."""
        try:
            found = dict(value)
            given = len(value)
        except (TypeError, ValueError):
            return value  # told by its type
        good = all(isinstance(name, str) and name.isidentifier() and len(name) <= 40 for name in found)
        if len(found) < given or not good or any(isinstance(v, str) and len(v) > 200 for v in found.values()):
            raise ValueError(
                "names must differ, and consist of at most 40 letters, digits and _; texts are short"
            )
        return tuple(sorted(found.items()))

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        return BeforeValidator(self.pairs).__get_pydantic_core_schema__(source, handler)

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        value = {"type": ["number", "string", "boolean"]}
        return {"type": "object", "additionalProperties": value, "default": {}}


def fields_of(cls: Any) -> dict[str, FieldInfo]:
    """What the fields of a pydantic dataclass say, by name, in order."""
    found: dict[str, FieldInfo] = cls.__pydantic_fields__
    return found


def _bounds(info: FieldInfo) -> tuple[Any, Any]:
    found = {key: getattr(item, key) for item in info.metadata for key in ("ge", "le") if hasattr(item, key)}
    return found.get("ge"), found.get("le")


def allowed(info: FieldInfo) -> str:
    """What a field may be, as in "must be …"."""
    for item in info.metadata:
        if hasattr(item, "rule"):
            return str(item.rule)
    if info.annotation is bool:
        return "true or false"
    low, high = _bounds(info)
    if info.annotation is int:
        return f"a whole number between {low} and {high:,}"
    return f"between {low:g} and {high:g}"


def choices(info: FieldInfo) -> tuple[Any, ...]:
    """All values that a field may have, where they are few; else empty."""
    for item in info.metadata:
        if type(item) is OneOf:
            return item.values()
    return (False, True) if info.annotation is bool else ()


def _fault(name: str, info: FieldInfo, error: Mapping[str, Any]) -> str:
    if error["type"] in ("float_type", "finite_number"):
        return f"{name} must be a finite number, got {shown(error['input'])}"
    mark = ";" if choices(info) and info.annotation is not bool else ","
    hint = did_you_mean(error["input"], choices(info)) if mark == ";" else ""
    return f"{name} must be {allowed(info)}{mark} got {shown(error['input'])}{hint}"


def _faults(cls: Any, error: ValidationError) -> list[str]:
    """One text for every field that is wrong, in the order of the fields."""
    fields = fields_of(cls)
    names = list(fields)
    told: dict[str, str] = {}
    for item in error.errors(include_url=False):
        if not item["loc"]:  # of several fields together
            told[""] = str(item.get("ctx", {}).get("error", item["msg"]))
            continue
        at = item["loc"][0]
        name = names[at] if isinstance(at, int) and at < len(names) else str(at)
        if name not in fields:
            told[name] = (
                f"unknown field {shown_name(name)}; allowed are {', '.join(names)}{did_you_mean(name, names)}"
            )
        elif len(item["loc"]) == 1:
            told[name] = _fault(name, fields[name], item)
        else:  # inside a value: the whole of it is not known here
            told.setdefault(name, f"{name} must be {allowed(fields[name])}; got {shown(item['input'])}")
    return list(told.values())


def one_line_errors(what: str) -> Callable[[C], C]:
    """Decorator of a pydantic dataclass: bad values are one ``ValueError`` of one line that lists all faults.

    Args:
        what: what its message begins with.
    """

    def decorate(cls: C) -> C:
        check = cls.__init__

        @functools.wraps(check)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            try:
                check(self, *args, **kwargs)
            except ValidationError as error:
                raise ValueError(f"{what}: {'; '.join(_faults(cls, error))}") from None

        cls.__init__ = init
        cls.__doc__ = _documented(cls)
        return cls

    return decorate


def _documented(cls: Any) -> str:
    """The docstring with a section of attributes, which ``--help`` reads too."""
    lines = [f"    {name}: {info.description} ({allowed(info)})." for name, info in fields_of(cls).items()]
    return "\n".join([(cls.__doc__ or "").rstrip(), "", "Attributes:", *lines, ""])


class FieldHelp(NamedTuple):
    """One field.

    Attributes:
        field: its name.
        default: as YAML writes it.
        allowed: what it may be, as in "must be …".
        meaning: what it is.
    """

    field: str
    default: str
    allowed: str
    meaning: str


def field_help(cls: Any) -> list[FieldHelp]:
    """Every field of a pydantic dataclass, in order."""
    rows = []
    for name, info in fields_of(cls).items():
        default = str(info.default).lower() if isinstance(info.default, bool) else str(info.default)
        written = {"": '""', "()": "{}"}.get(default, default)
        rows.append(FieldHelp(name, written, allowed(info), info.description or ""))
    return rows
