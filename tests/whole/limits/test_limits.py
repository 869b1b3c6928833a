"""How much may stand in a folder, a file and a function."""

from __future__ import annotations

import ast
import re

from places import ROOT, name_of, sources

MOST_FILES, MOST_FLAT_AGENTS, MOST_LINES, MOST_FUNCTION_LINES = 12, 4, 350, 60

# Folders that may hold more files, and why.
LARGER_FOLDERS = {
    "envs/tasks/builtin": "data: a YAML file for each built-in suite",
    "docs": "pages, whose addresses do not change; the site's navigation groups them",
}

HOUSE = sources("lambda_rl", "envs", "agents", "scripts", "tests")


def test_no_folder_is_too_full() -> None:
    found: dict[str, int] = {}
    for top in ("lambda_rl", "envs", "agents", "scripts", "tests", "docs"):
        for path in (ROOT / top).rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                found[name_of(path.parent)] = found.get(name_of(path.parent), 0) + 1
    full = {folder: count for folder, count in found.items() if count > MOST_FILES}
    assert full.keys() == LARGER_FOLDERS.keys(), full
    assert found["agents"] <= MOST_FLAT_AGENTS


def test_no_file_is_too_long() -> None:
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in HOUSE}
    assert not {name: count for name, count in lines.items() if count > MOST_LINES}


def test_no_function_is_too_long() -> None:
    long = []
    for path in HOUSE:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if (count := node.end_lineno - node.lineno + 1) > MOST_FUNCTION_LINES:
                    long.append(f"{name_of(path)}: {node.name}, {count} lines")
    assert not long


def test_exemptions_from_a_limit_say_why() -> None:
    for path in HOUSE:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(r"# noqa: .*(PLR|C9)\d", line):
                assert re.search(r"# noqa: [A-Z0-9, ]+ - \w", line), f"{name_of(path)}:{number}"
