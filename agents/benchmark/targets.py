"""What the project promises of its speed on a CPU, in one place, and whether a result keeps it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lambda_rl.agents.benchmark.opponents.dacbench_opponent import DACBench
from lambda_rl.agents.benchmark.opponents.plain import PlainLoop
from lambda_rl.agents.benchmark.ours import OURS
from lambda_rl.agents.presenting.markdown import markdown_table
from lambda_rl.envs.networks import NETWORKS
from lambda_rl.envs.networks.mlp import MLP

DEPLOYED = {MLP.name: 0.02, "ResNet-18": 0.001}
"""What a deployed schedule may cost that is called after each step, as a share of the run's time, by how the label of a
loop begins."""

PRECISION = 0.003
"""What the interval of the mean difference of bf16 to fp32 must lie within, as a fraction of the test images."""

RECOMPILATIONS = 0
"""How often a compiled environment may compile again while λ changes and slots are reset."""


CPU_SHARE = "cpu_share_of_fastest"
"""See :func:`.ours.compare_with_fastest`."""


class _Found:
    """What was found out about one network, by the names that promises are made of."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._rows: dict[str, dict[str, Any]] = found["rows"]
        self._ours = [row for label, row in self._rows.items() if label.startswith(OURS)]
        self._own_cost = found.get("own_cost")

    def _fastest(self, key: str, precision: str = "") -> float | None:
        """Of our rows the fastest one's, in this precision if there is one in it."""
        rows = [row for row in self._ours if row["precision"] == precision] or self._ours
        return max(rows, key=lambda row: row["steps_per_second"])[key] if rows else None

    def _most(self, key: str, precision: str = "") -> float | None:
        rows = [row for row in self._ours if precision in ("", row["precision"])]
        return max((row.get(key, 0.0) for row in rows), default=None)

    def over_plain(self, precision: str = "") -> float | None:
        """Our speed over that of the plain loop in fp32, which is the first row."""
        there = f"{PlainLoop.label}, fp32" in self._rows
        return self._fastest("ratio", precision) if there else None

    def over_dacbench(self) -> float | None:
        best = self._fastest("steps_per_second")
        if best is None or DACBench.label not in self._rows:
            return None
        return best / self._rows[DACBench.label]["steps_per_second"]

    def of_floor(self) -> float | None:
        return self._most("share_of_floor")

    def of_fastest(self) -> float | None:
        """By CPU time, for it is the same on a busy machine."""
        shares = [row[CPU_SHARE] for row in self._ours if CPU_SHARE in row]
        return max(shares, default=None)

    def of_peak(self, precision: str) -> float | None:
        return self._most("share_of_peak", precision)

    def own_cost(self) -> float | None:
        return self._own_cost["decision"] if self._own_cost and self._ours else None


@dataclass(frozen=True)
class Target:
    """A promise.

    Attributes:
        what: what is measured.
        found: the measure; None where it was not taken.
        least: for networks without convolutions; None: nothing is promised of them.
        least_convolutional: for the others.
        at_most: whether these are the most, rather than the least.
    """

    what: str
    found: Callable[[_Found], float | None]
    least: float | None
    least_convolutional: float | None
    at_most: bool = False


TARGETS = (
    Target("fp32, times the plain loop in fp32", lambda found: found.over_plain("fp32"), 1.5, None),
    Target("best, times the plain loop in fp32", lambda found: found.over_plain(), 4.0, 3.0),
    Target("best, times DACBench", _Found.over_dacbench, 10.0, 10.0),
    Target("share of the floor", _Found.of_floor, 0.5, None),
    Target("share of the achievable floor", _Found.of_fastest, 0.7, 0.7),
    Target("share of the bf16 peak", lambda found: found.of_peak("bf16"), None, 0.25),
    Target("share of the fp32 peak", lambda found: found.of_peak("fp32"), None, 0.55),
    Target("own cost, share of a decision", _Found.own_cost, 0.05, 0.05, at_most=True),
)


def judge(network: str, found: Mapping[str, Any]) -> list[dict[str, object]]:
    """What is promised of a network, and what was found.

    Args:
        network: its name.
        found: its results, with ``rows`` and ``own_cost``.

    Returns:
        Rows with ``what``, ``target``, ``found`` and ``met``; those whose opponent is missing are left out.
    """
    measures, convolutional = _Found(found), NETWORKS[network].convolutional
    judged: list[dict[str, object]] = []
    for target in TARGETS:
        bound = target.least_convolutional if convolutional else target.least
        value = target.found(measures)
        if bound is None or value is None:
            continue
        sign, met = ("≤", value <= bound) if target.at_most else ("≥", value >= bound)
        judged.append({"what": target.what, "target": f"{sign} {bound:g}", "found": value, "met": bool(met)})
    return judged


def judge_deployed(rows: Mapping[str, Mapping[str, float]]) -> list[dict[str, object]]:
    """What is promised of a deployed schedule, and what was found; rows as of :func:`.deployed.cost.deployed`."""
    return [
        {
            "what": f"{label}: share of the run, called after each step",
            "target": f"≤ {bound:g}",
            "found": row["share_each_step"],
            "met": row["share_each_step"] <= bound,
        }
        for label, row in rows.items()
        for name, bound in DEPLOYED.items()
        if label.startswith(name)
    ]


HEADINGS = ("what", "target", "found", "met")
"""Of the table of what is promised and what was found, as every page of the benchmark has it."""


def promises(checks: Iterable[Mapping[str, Any]]) -> str:
    """One row a promise."""
    return markdown_table(HEADINGS, [_row(check) for check in checks])


def promises_by_network(checks: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """Likewise, with the network that it is about."""
    return markdown_table(("network", *HEADINGS), [[name, *_row(check)] for name, check in checks])


def _row(check: Mapping[str, Any]) -> list[str]:
    return [check["what"], check["target"], f"{check['found']:.3g}", "yes" if check["met"] else "**no**"]
