"""The tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

SHARES = ("share_of_floor", "share_of_peak", "cpu_share_of_fastest")


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
    for heading in ("median", "lowest", "highest", "ratio", "of floor", "of peak", "of kernels"):
        table.add_column(heading, justify="right")
    for label, row in found["rows"].items():
        numbers = [f"{row[key]:,.0f}" for key in ("steps_per_second", "lowest", "highest")]
        shares = [f"{row[key]:.0%}" if key in row else "" for key in SHARES]
        table.add_row(label, *numbers, f"{row['ratio']:.2f}", *shares)
    for precision, floor in found["floor"].items():
        table.add_row(f"floor, {precision}", f"{floor['steps_per_second']:,.0f}", "", "", "", "100%", "", "")
    console.print(table)
    for line in found["skipped"]:
        console.print(f"  left out: {line}", markup=False)
    if "own_cost" in found:
        cost = found["own_cost"]
        console.print(
            f"  own cost outside training and evaluation: {cost['decision']:.1%} of a decision, "
            f"{cost['episode']:.1%} of an episode with the start of the next"
        )
    for check in found["targets"]:
        mark = "yes" if check["met"] else "NO "
        console.print(f"  {mark} {check['what']}: {check['found']:.3g} ({check['target']})")
