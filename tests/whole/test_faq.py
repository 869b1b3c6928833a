"""Each warning of lambda_rl is in docs/faq.md, with its text, its cause and its cure."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

from places import DOCS, FLOORS

WARNING_CALLS = {"_warn_once", "_warn", "warn", "_note", "_hold"}
LEAST = 10  # letters of a text that tell it from all others


def texts() -> dict[str, str]:
    """The literal text of each warning, its longest piece between what is filled in, by where it stands."""
    found = {}
    for path in sorted(FLOORS["lambda_rl"].rglob("*.py")):
        for line, node in nodes(path):
            piece = max(pieces(node), key=len, default="")
            if len(piece) >= LEAST:
                found[f"{path.relative_to(FLOORS['lambda_rl'])}:{line}"] = piece
    return found


def nodes(path: Path) -> Iterator[tuple[int, ast.expr]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in WARNING_CALLS:
                yield from ((node.lineno, argument) for argument in node.args)
        elif is_text_of_its_own(node, path) and node.value:
            yield node.lineno, node.value


def is_text_of_its_own(node: ast.AST, path: Path) -> TypeGuard[ast.AnnAssign | ast.Return]:
    """A rule of the guard has its warning as an attribute; what is looked at first returns sentences."""
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id == "warning"
    return isinstance(node, ast.Return) and path.parent.name == "first_look"


def pieces(node: ast.expr) -> Iterator[str]:
    """The constant parts of a text, those of ``str.format`` cut at its braces."""
    for one in node.values if isinstance(node, ast.JoinedStr) else [node]:
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield from (" ".join(part.split()) for part in re.split(r"\{[^}]*\}", one.value))


def test_each_warning_has_an_entry() -> None:
    page = (DOCS / "faq.md").read_text(encoding="utf-8")
    quoted = " ".join(re.sub(r"^> ", "", page, flags=re.MULTILINE).split())
    found = texts()
    assert len(found) >= 24
    missing = {where: text for where, text in found.items() if text not in quoted}
    assert not missing, f"warnings without an entry in docs/faq.md: {missing}"


def test_each_entry_says_why_and_what_to_do() -> None:
    page = (DOCS / "faq.md").read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"^### ", page, flags=re.MULTILINE)[1:] if "\n> " in entry]
    assert len(entries) >= 24
    for entry in entries:
        assert re.search(r"\*\*Why\.?\*\*", entry), entry
        assert re.search(r"\*\*[Ww]hat to do\.\*\*", entry), entry


def test_the_collector_finds_what_is_filled_in() -> None:
    joined = ast.parse("f'one {x} and a longer piece {y:g}'", mode="eval").body
    assert list(pieces(joined)) == ["one", "and a longer piece"]
    assert list(pieces(ast.Constant("κ rises to {kappa:.2g} now"))) == ["κ rises to", "now"]
