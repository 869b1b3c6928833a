"""The JSON schema of a suite file, from the fields of a task: editors complete and check such files by it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter

from lambda_rl.envs.data.tables import TABLES
from lambda_rl.envs.tasks.files import LIST_KEYS
from lambda_rl.envs.tasks.suites import load_suite, suite_names
from lambda_rl.envs.tasks.task import Task, may_range
from lambda_rl.envs.tasks.variations import VARIATIONS

_LIMITS = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
_SCALAR = {"type": ["number", "string", "boolean"]}


def suite_schema() -> dict[str, Any]:
    """The schema (draft 2020-12) of a suite file that anybody may bring; built-in ones may also say their ``fold``."""
    fields: dict[str, Any] = TypeAdapter(Task).json_schema()["properties"]
    for schema in fields.values():
        del schema["title"]
        if schema["type"] == "object" and not schema["default"]:
            schema["default"] = {}  # pairs inside the program
    task = {"type": "object", "properties": fields, "additionalProperties": False}
    partial = {"$ref": "#/$defs/task"}
    lists = [name for name in suite_names() if load_suite(name).tasks]
    described: dict[str, tuple[str, dict[str, Any]]] = {
        "name": (
            "what the suite is called; without it, the file's name",
            {"type": "string", "maxLength": 100},
        ),
        "defaults": ("fields of all tasks", partial),
        "include": ("built-in lists whose tasks come first", _some({"enum": lists})),
        "tasks": ("a list of tasks; what they do not name has the default", _some(partial)),
        "grid": (
            "each task with each combination of these values; the last field changes fastest",
            {
                "type": "object",
                "properties": {name: _some(_field(name)) for name in fields},
                "additionalProperties": False,
            },
        ),
        "bases": (
            "a distribution of tasks: one of these is drawn first; `vary` in it goes before the common one",
            _some({"$ref": "#/$defs/base"}),
        ),
        "weights": ("how likely each base is", _some({"type": "integer", "minimum": 1, "maximum": 10**6})),
        "vary": ("how fields vary, drawn in this order", {"$ref": "#/$defs/vary"}),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lambda-rl suite",
        "description": "A list of tasks (tasks, grid, include) or a distribution of tasks (bases, vary).",
        "type": "object",
        "properties": {key: {"description": text, **schema} for key, (text, schema) in described.items()},
        "additionalProperties": False,
        "oneOf": [
            {"anyOf": [{"required": [key]} for key in keys]} for keys in (LIST_KEYS, ("bases", "vary"))
        ],
        "dependentRequired": {"weights": ["bases"]},
        "$defs": {"task": task, **_parts(fields)},
    }


def _parts(fields: Iterable[str]) -> dict[str, Any]:
    """What a distribution is made of: a base, and how fields vary."""
    return {
        "base": {
            "type": "object",
            "properties": {**{name: _field(name) for name in fields}, "vary": {"$ref": "#/$defs/vary"}},
            "additionalProperties": False,
        },
        "vary": {
            "type": "object",
            "properties": {name: _variation(name) for name in fields if name != "seed"},
            "patternProperties": {r"^network_options\.\w+$": _ways(_SCALAR, ranges=True)},
            "additionalProperties": False,
        },
        "range": {"anyOf": [_worded(word, _LIMITS) for word, way in VARIATIONS.items() if way.numeric]},
    }


def schema_text() -> str:
    """The schema as the file ``docs/suite.schema.json`` has it."""
    return _lines(suite_schema(), 0) + "\n"


def _lines(value: Any, indent: int) -> str:
    """JSON that is short and can be read: what fits into a line stands on one."""
    line = json.dumps(value, ensure_ascii=False)
    if len(line) + indent <= 110 or not isinstance(value, dict):
        return line
    inside = (f"{json.dumps(key)}: {_lines(item, indent + 1)}" for key, item in value.items())
    space = "\n" + " " * indent
    return f"{{{space} " + f",{space} ".join(inside) + f"{space}}}"


def _field(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/task/properties/{name}"}


def _some(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


def _tables() -> dict[str, Any]:
    """What stands behind ``tables``."""
    whole = {"type": "integer"}
    pair = {"type": "array", "items": whole, "minItems": 2, "maxItems": 2}
    inside = {
        "kinds": _some({"enum": list(TABLES)}),
        "inputs": pair,
        "classes": pair,
        "rows": whole,
        "seeds": pair,
    }
    return {"type": "object", "properties": inside, "required": list(inside), "additionalProperties": False}


def _variation(name: str) -> dict[str, Any]:
    return _ways(_field(name), ranges=may_range(name), field=name)


def _ways(value: dict[str, Any], *, ranges: bool, field: str = "") -> dict[str, Any]:
    """A value (not a mapping, which must stand behind ``const``), or a way to vary it."""
    arguments = {"const": value, "choice": _some(value), "tables": _tables()}
    ways = [
        _worded(word, arguments.get(word, {}))
        for word, way in VARIATIONS.items()
        if not way.numeric and field in (getattr(way, "fields", ()) or (field,))
    ]
    if ranges:
        ways.append({"$ref": "#/$defs/range"})
    return {"anyOf": [{"allOf": [value, _SCALAR]}, *ways]}


def _worded(word: str, argument: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {word: argument},
        "required": [word],
        "additionalProperties": False,
    }
