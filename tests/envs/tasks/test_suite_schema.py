"""The JSON schema of suite files says what the program takes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from lambda_rl.envs.tasks.files import read_yaml
from lambda_rl.envs.tasks.schema import schema_text, suite_schema
from lambda_rl.envs.tasks.suites import BUILTIN, load_suite, suite_names
from lambda_rl.envs.tasks.task import field_types
from lambda_rl.penalties import PENALTIES

_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


def fits(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Whether a value is valid, by the keywords that our schema uses; any other keyword is an error."""
    return all(_RULES[keyword](value, wanted, schema, root) for keyword, wanted in schema.items())


def _of_type(value: Any, wanted: Any, *_: Any) -> bool:
    names = wanted if isinstance(wanted, list) else [wanted]
    return any(
        isinstance(value, _TYPES[n]) and (n == "boolean" or not isinstance(value, bool)) for n in names
    )


def _referred(value: Any, wanted: str, _: Any, root: dict[str, Any]) -> bool:
    schema: Any = root
    for part in wanted.removeprefix("#/").split("/"):
        schema = schema[part]
    return fits(value, schema, root)


def _properties(value: Any, wanted: dict[str, Any], _: Any, root: dict[str, Any]) -> bool:
    return not isinstance(value, dict) or all(fits(value[k], wanted[k], root) for k in value if k in wanted)


def _patterns(value: Any, wanted: dict[str, Any], _: Any, root: dict[str, Any]) -> bool:
    return all(fits(value[k], schema, root) for p, schema in wanted.items() for k in value if re.search(p, k))


def _others(value: Any, wanted: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    if not isinstance(value, dict):
        return True
    named = [k for k in value if k in schema.get("properties", {})]
    named += [k for k in value if any(re.search(p, k) for p in schema.get("patternProperties", {}))]
    return all(wanted is not False and fits(value[k], wanted, root) for k in value if k not in named)


_RULES: dict[str, Any] = {
    **dict.fromkeys(("$schema", "title", "description", "default", "$defs"), lambda *_: True),
    "type": _of_type,
    "enum": lambda value, wanted, *_: value in wanted,
    "minimum": lambda value, wanted, *_: not isinstance(value, (int, float)) or value >= wanted,
    "maximum": lambda value, wanted, *_: not isinstance(value, (int, float)) or value <= wanted,
    "maxLength": lambda value, wanted, *_: not isinstance(value, str) or len(value) <= wanted,
    "pattern": lambda value, wanted, *_: not isinstance(value, str) or bool(re.search(wanted, value)),
    "minItems": lambda value, wanted, *_: not isinstance(value, list) or len(value) >= wanted,
    "maxItems": lambda value, wanted, *_: not isinstance(value, list) or len(value) <= wanted,
    "items": lambda value, wanted, _, root: (
        not isinstance(value, list) or all(fits(item, wanted, root) for item in value)
    ),
    "required": lambda value, wanted, *_: set(wanted) <= set(value),
    "dependentRequired": lambda value, wanted, *_: all(set(n) <= set(value) for k, n in wanted.items() if k in value),
    "properties": _properties,
    "patternProperties": _patterns,
    "additionalProperties": _others,
    "$ref": _referred,
    "anyOf": lambda value, wanted, _, root: any(fits(value, item, root) for item in wanted),
    "allOf": lambda value, wanted, _, root: all(fits(value, item, root) for item in wanted),
    "oneOf": lambda value, wanted, _, root: sum(fits(value, item, root) for item in wanted) == 1,
}  # fmt: skip


def test_the_committed_schema_is_up_to_date(repository: Path) -> None:
    committed = (repository / "docs" / "suite.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "run `python scripts/task_fields.py`"
    assert json.loads(committed) == suite_schema()


def test_every_field_is_described_and_bounded() -> None:
    fields = suite_schema()["$defs"]["task"]["properties"]
    assert list(fields) == list(field_types())
    for name, schema in fields.items():
        assert schema["description"]
        assert "default" in schema
        if schema["type"] in ("integer", "number") and "enum" not in schema:
            assert schema["minimum"] < schema["maximum"], name
    assert (fields["resolution"]["minimum"], fields["resolution"]["maximum"]) == (1, 512)
    assert fields["pixels"]["enum"] == ["standardised", "mean-subtracted"]
    assert fields["network_options"]["default"] == {}


@pytest.mark.parametrize("name", suite_names())
def test_built_in_files_are_valid(name: str) -> None:
    content = read_yaml(BUILTIN / f"{name}.yaml")
    del content["fold"]  # which only these may say
    assert fits(content, suite_schema(), suite_schema())


FILES = [
    ("tasks: [{}]", True),
    ("name: a\ndefaults: {width: 3}\ntasks: [{train_size: 20, network_options: {depth: 2, norm: batch}}]", True),
    ("include: [quick-held-out]", True),
    ("vary: {width: {uniform: [1, 3]}, steps: 30, data: {choice: [cifar10, 'synthetic:3']}}", True),
    ("bases: [{network_options: {depth: 2}}]\nvary: {network_options.depth: {log-uniform: [1, 2]}}", True),
    ("bases: [{width: 3}]\nweights: [1]", True),
    ("bases: [{width: 3, vary: {steps: {uniform: [20, 30]}}}, {}]\nvary: {steps: 40}", True),
    ("bases: [{vary: {seed: 3}}]", False),
    ("tasks: [{vary: {steps: 40}}]", False),
    ("vary: {network_options: {const: {depth: 1}}, augment: {choice: [true, false]}}", True),
    ("width: 3\ntasks: [{}]", False),
    ("defaults: {}", False),
    ("tasks: []", False),
    ("tasks: [{widht: 3}]", False),
    ("tasks: [{width: 0}]", False),
    ("tasks: [{width: 1.5}]", False),
    ("tasks: [{width: true}]", False),
    ("tasks: [{network: vgg}]", False),
    ("tasks: [{label_noise: 2}]", False),
    ("tasks: [{data: mnist}]", False),
    ("tasks: [{network_options: {depth: [1]}}]", False),
    ("tasks: [{}]\nbases: [{}]", False),
    ("tasks: [{}]\nfold: agent", False),
    ("include: [quick]", False),
    ("grid: {width: 3}", False),
    ("grid: {width: [0]}", False),
    ("vary: {network: {uniform: [1, 2]}}", False),
    ("vary: {width: {uniform: [1]}}", False),
    ("vary: {width: {between: [1, 2]}}", False),
    ("vary: {width: [1, 2]}", False),
    ("vary: {seed: 3}", False),
    ("vary: {width.depth: 3}", False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "valid"), FILES)
def test_the_schema_and_the_program_agree(tmp_path: Path, text: str, valid: bool) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert fits(read_yaml(path), suite_schema(), suite_schema()) == valid
    if valid:
        load_suite(path)
    else:
        with pytest.raises(ValueError, match="suite file"):
            load_suite(path)


def test_what_is_registered_later_is_in_the_schema() -> None:
    with PENALTIES.temporarily("toy", PENALTIES["l1"]):
        assert "toy" in suite_schema()["$defs"]["task"]["properties"]["penalty"]["enum"]
