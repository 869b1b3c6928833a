"""``summary.json`` of a reproduction: verdicts, tables, and where they come from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lambda_rl.agents.reproduction.lu2017.experiments import LEARNED
from lambda_rl.agents.reproduction.lu2017.findings.claims import findings
from lambda_rl.agents.reproduction.lu2017.findings.verdicts import Finding
from lambda_rl.agents.reproduction.lu2017.settings import Budget
from lambda_rl.agents.reproduction.lu2017.tables import TABLES, triple


def summarise(
    runs: pd.DataFrame,
    budget: Budget,
    figures: Sequence[str],
    settings: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Judges and tabulates what is complete.

    Args:
        runs: see :meth:`lambda_rl.agents.reproduction.lu2017.store.Store.table`.
        budget: sizes.
        figures: those that are complete.
        settings: what the results depend on.
        origin: command, commit, versions, hardware.

    Returns:
        Plain values: ``figures``, ``settings``, ``claims``, ``tables`` (by figure and name), ``runs``, ``diverged``,
        ``warned`` (what learned schedules warned of, with the number of runs), ``origin``.
    """
    learned = runs[runs["schedule"] == LEARNED]
    warned = Counter(text for texts in learned["warned"] for text in set(map(_without_numbers, texts)))
    diverged = runs[runs["diverged"]].groupby(["cell", "schedule"]).size()
    return {
        "figures": list(figures),
        "settings": dict(settings),
        "claims": [_claim(item) for item in findings(runs, budget, figures)],
        "tables": {name: TABLES[name](runs, budget) for name in figures},
        "runs": len(runs),
        "learned_runs": len(learned),
        "diverged": {f"{cell}, {schedule}": int(count) for (cell, schedule), count in diverged.items()},
        "warned": dict(warned.most_common()),
        "origin": dict(origin),
    }


def _without_numbers(text: str) -> str:
    """A warning that differs from run to run by a number is one warning."""
    return re.sub(r"(?<![\w.])\d+(\.\d+)?(e[+-]?\d+)?\b", "…", text)


def _claim(item: Finding) -> dict[str, Any]:
    return {
        "key": item.key,
        "figure": item.figure,
        "claim": item.claim,
        "verdict": item.verdict,
        "where": item.where,
        "parts": [
            {
                "text": part.text,
                "estimate": triple(part.estimate),
                "unit": part.unit,
                "counts": part.counts,
                "holds": part.estimate.above,
            }
            for part in item.parts
        ],
        "cells": {name: triple(cell) for name, cell in item.cells.items()},
    }
