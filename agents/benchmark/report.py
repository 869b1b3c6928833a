"""The tables, and what the project promises of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

NAIVE = "SB3 SubprocVecEnv, plain loop"
ENSEMBLE = "torch.func.vmap"
DACBENCH = "DACBench"
OURS = "ours"

OWN_COST = 0.05
"""What the environment may cost outside training and evaluation, as a share of a decision."""


def judge(name: str, found: Mapping[str, Any]) -> list[dict[str, object]]:
    """What is promised for a network on a CPU, and what was found.

    Args:
        name: of the network.
        found: its results, with ``rows`` and ``own_cost``.

    Returns:
        Rows with ``what``, ``target``, ``found`` and ``met``; those whose opponent is missing are left out.
    """
    rows: dict[str, dict[str, Any]] = found["rows"]
    ours = {label: row for label, row in rows.items() if label.startswith(OURS)}
    if not ours:
        return []
    best = max(ours.values(), key=lambda row: row["steps_per_second"])
    fp32 = max(
        (row for row in ours.values() if row["precision"] == "fp32"),
        key=lambda row: row["steps_per_second"],
        default=best,
    )
    checks: list[tuple[str, float, float]] = []
    if f"{NAIVE}, fp32" in rows:
        if name == "mlp":
            checks.append(("fp32, times the plain loop in fp32", 1.5, fp32["ratio"]))
        checks.append(
            ("best, times the plain loop in fp32", {"mlp": 4.0, "cnn3": 3.0}.get(name, 1.0), best["ratio"])
        )
    if DACBENCH in rows:
        checks.append(
            ("best, times DACBench", 10.0, best["steps_per_second"] / rows[DACBENCH]["steps_per_second"])
        )
    if name == "mlp":
        checks.append(
            ("share of the floor", 0.50, max(row.get("share_of_floor", 0.0) for row in ours.values()))
        )
    else:
        for precision, least in (("bf16", 0.25), ("fp32", 0.55)):
            shares = [r["share_of_peak"] for r in ours.values() if r["precision"] == precision]
            if shares:
                checks.append((f"share of the {precision} peak", least, max(shares)))
    result: list[dict[str, object]] = [
        {"what": what, "target": f"≥ {least:g}", "found": value, "met": bool(value >= least)}
        for what, least, value in checks
    ]
    if "own_cost" in found:
        cost = found["own_cost"]["decision"]
        result.append(
            {"what": "own cost, share of a decision", "target": f"≤ {OWN_COST:g}", "found": cost,
             "met": bool(cost <= OWN_COST)}
        )  # fmt: skip
    return result


def show_machine(results: Mapping[str, Any], console: Console) -> None:
    """Hardware, load and peaks."""
    machine, peaks = results["machine"], results.get("peaks", {})
    console.print(
        f"{machine['processor']}, {machine['cores']} cores, torch {results['versions']['torch']}; "
        f"other processes use {results['others']['before']:.0%} of the cores"
    )
    for peak in peaks.values():
        flops = ", ".join(f"{value / 1e9:,.0f} GFLOP/s {name}" for name, value in peak["flops"].items())
        console.print(
            f"  {peak['threads']} thread{'s' if peak['threads'] > 1 else ''}: {flops}; copies "
            f"{peak['near'] / 1e9:,.0f} GB/s in L2, {peak['far'] / 1e9:,.0f} GB/s in memory"
        )


def show_network(name: str, found: Mapping[str, Any], console: Console) -> None:
    """The rows of a network, and what is promised of them."""
    table = Table(title=f"{name}: network-steps/s of whole episodes, evaluation and resets included")
    table.add_column("what")
    for heading in ("median", "lowest", "highest", "ratio", "of floor", "of peak"):
        table.add_column(heading, justify="right")
    for label, row in found["rows"].items():
        numbers = [f"{row[key]:,.0f}" for key in ("steps_per_second", "lowest", "highest")]
        shares = [f"{row[key]:.0%}" if key in row else "" for key in ("share_of_floor", "share_of_peak")]
        table.add_row(label, *numbers, f"{row['ratio']:.2f}", *shares)
    for precision, floor in found["floor"].items():
        table.add_row(f"floor, {precision}", f"{floor['steps_per_second']:,.0f}", "", "", "", "100%", "")
    console.print(table)
    for line in found["skipped"]:
        console.print(f"  left out: {line}")
    if "own_cost" in found:
        cost = found["own_cost"]
        console.print(
            f"  own cost outside training and evaluation: {cost['decision']:.1%} of a decision, "
            f"{cost['episode']:.1%} of an episode with the start of the next"
        )
    for check in found["targets"]:
        mark = "yes" if check["met"] else "NO "
        console.print(f"  {mark} {check['what']}: {check['found']:.3g} ({check['target']})")
