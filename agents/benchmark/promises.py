"""The table of what is promised and what was found, as every page of the benchmark has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lambda_rl.agents.presenting.markdown import markdown_table

HEADINGS = ("what", "target", "found", "met")


def promises(checks: Iterable[Mapping[str, Any]]) -> str:
    """One row a promise."""
    return markdown_table(HEADINGS, [_row(check) for check in checks])


def promises_by_network(checks: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Likewise, with the network that it is about."""
    return markdown_table(("network", *HEADINGS), [[name, *_row(check)] for name, check in checks])


def _row(check: Mapping[str, Any]) -> list[str]:
    return [check["what"], check["target"], f"{check['found']:.3g}", "yes" if check["met"] else "**no**"]
