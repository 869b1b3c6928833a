"""Fills the marked blocks of ``docs/performance.md`` and ``docs/gain-and-cost.md`` out of the JSON files."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lambda_rl.agents.benchmark import targets
from lambda_rl.agents.benchmark.accelerator.page import stack_blocks
from lambda_rl.agents.benchmark.deployed.cost import COLUMNS, RUN, cells
from lambda_rl.agents.benchmark.mixture import timed as mixture
from lambda_rl.agents.benchmark.targets import promises, promises_by_network
from lambda_rl.agents.comparison.results import LEARNED, Summary
from lambda_rl.agents.presenting.markdown import fill_page, markdown_table
from lambda_rl.envs.tasks.task import Task

RATIOS, ANATOMY, PRECISION = "benchmark.json", "anatomy.json", "precision.json"
DEPLOYED = "deployed.json"
ACHIEVABLE, MIXTURE, STACKS = "achievable-*.json", "mixture*.json", "stacks*.json"
"""Files of a results folder that a page is made of."""


def _read(folder: Path, name: str) -> dict[str, Any] | None:
    path = folder / name
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _others(results: Mapping[str, Any]) -> str:
    """How busy the machine was with something else."""
    others = results["others"]
    return f"used {others['before']:.0%} of the cores before and {others['meanwhile']:.0%} meanwhile"


def _machine(results: Mapping[str, Any]) -> str:
    machine = results["machine"]
    lines = [
        f"- {machine['processor']}, {machine['cores']} cores, torch {results['versions']['torch']}, Python "
        f"{results['versions']['python']}. Other processes {_others(results)}. "
        f"{results['config']['repeats']} interleaved repeats."
    ]
    for peak in results["peaks"].values():
        flops = ", ".join(f"{value / 1e9:,.0f} GFLOP/s {name}" for name, value in peak["flops"].items())
        lines.append(
            f"- {peak['threads']} thread{'s' if peak['threads'] > 1 else ''}: {flops}; copies "
            f"{peak['near'] / 1e9:,.0f} GB/s within the second-level cache, {peak['far'] / 1e9:,.0f} GB/s in memory."
        )
    return "\n".join(lines) + "\n"


def _rows(found: Mapping[str, Any]) -> str:
    rows = [
        [
            label,
            f"{row['steps_per_second']:,.0f}",
            f"{row['lowest']:,.0f} to {row['highest']:,.0f}",
            f"{row['ratio']:.2f}",
            f"{row['share_of_floor']:.0%}",
            f"{row['share_of_peak']:.0%}",
        ]
        for label, row in found["rows"].items()
    ]
    rows += [
        [f"floor, {name}", f"{floor['steps_per_second']:,.0f}", "", "", "100%", ""]
        for name, floor in found["floor"].items()
    ]
    return markdown_table(
        ["", "network-steps/s", "lowest to highest", "times the first row", "of the floor", "of the peak"],
        rows,
    )


def _floor(found: Mapping[str, Any]) -> str:
    """Parts of the floor, microseconds of a network-step."""
    floors = found["floor"]
    names = list(next(iter(floors.values()))["parts"])
    rows = [[name, *(f"{1e6 * floor['parts'][name]:.2f}" for floor in floors.values())] for name in names]
    rows.append(["**sum**", *(f"**{1e6 * floor['seconds']:.2f}**" for floor in floors.values())])
    return markdown_table(["µs of a network-step", *floors], rows)


def _fastest(found: Mapping[str, Any]) -> dict[str, str]:
    """By name of a block: what the fastest kernels take, and how near our rows come."""
    fastest = found["fastest"]
    rows = []
    for name in next(iter(fastest.values()))["parts"]:
        parts = [each["parts"][name] for each in fastest.values()]
        rows.append([name, *(c for p in parts for c in (f"{1e6 * p['seconds']:.2f}", p["kernel"]))])
    rows.append(["**sum**", *(c for f in fastest.values() for c in (f"**{1e6 * f['seconds']:.2f}**", ""))])
    heads = [c for name in fastest for c in (f"{name}, µs", "by")]
    shares = [
        [
            label,
            f"{1e6 * statistics.median(row['cpu']):.1f}",
            f"{1e6 * fastest[row['precision']]['seconds']:.1f}",
            f"{row['cpu_share_of_fastest']:.0%}",
        ]
        for label, row in found["rows"].items()
        if "cpu_share_of_fastest" in row
    ]
    return {
        "parts": markdown_table(["of a network-step", *heads], rows),
        "shares": markdown_table(
            ["", "CPU µs of a network-step", "of the fastest kernels alone", "share"], shares
        ),
    }


def _all_fastest(results: Mapping[str, Any]) -> dict[str, str]:
    """Blocks about the fastest kernels: where they were timed, what they take, and how near our rows come."""
    machine, config = results["machine"], results["config"]
    where = (
        f"{machine['processor']}, {config['threads']} of {machine['cores']} cores, torch "
        f"{results['versions']['torch']}; other processes {_others(results)}. "
        f"{config['repeats']} interleaved repeats.\n"
    )
    made: dict[str, str] = {}
    for name, found in results["networks"].items():
        blocks = {"machine": where, **_fastest(found)}
        made |= {f"achievable-{name}-{block}": text for block, text in blocks.items()}
    return made


def _targets(results: Mapping[str, Any]) -> str:
    checks = [(name, check) for name, found in results["networks"].items() for check in found["targets"]]
    counted = results.get("recompilations")
    if counted:
        again = counted["recompilations"]
        check = {
            "what": f"recompilations over {counted['changes']:,} changes of λ and {counted['resets']} resets",
            "target": str(targets.RECOMPILATIONS),
            "found": again,
            "met": again <= targets.RECOMPILATIONS,
        }
        checks.append((counted.get("network", Task().network), check))  # older files are about that one
    return promises_by_network(checks)


def _profile(found: Mapping[str, Any]) -> str:
    """Parts of a decision."""
    profiles = found["profile"]
    names = list(next(iter(profiles.values()))["parts"])
    rows = []
    for name in names:
        row = [name]
        for profile in profiles.values():
            whole = profile["wall"] * profile["threads"]
            row.append(f"{1e3 * profile['parts'][name]:.1f} ms, {profile['parts'][name] / whole:.0%}")
        rows.append(row)
    walls = [f"{1e3 * profile['wall']:.1f} ms" for profile in profiles.values()]
    rows.append(["**a decision, from start to end**", *walls])
    return markdown_table(["time of all threads", *profiles], rows)


def _operators(found: Mapping[str, Any]) -> str:
    lines = []
    for label, rows in found["operators"].items():
        listed = ", ".join(f"`{row['name'][:60]}` {row['share']:.0%}" for row in rows)
        lines.append(f"- {label}: {listed}.")
    return "\n".join(lines) + "\n"


def _precision(results: Mapping[str, Any]) -> str:
    rows = []
    for name, found in results["precision"].items():
        low, high = found["interval"]
        rows.append(
            [
                name,
                str(len(found["fp32"])),
                *(f"{100 * sum(found[key]) / len(found[key]):.2f}" for key in ("fp32", "bf16")),
                f"{100 * found['difference']:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]",
                "yes" if found["within"] else "**no**",
            ]
        )
    return markdown_table(
        [
            "network",
            "seeds",
            "fp32, %",
            "bf16, %",
            "difference, points [95 %]",
            f"within ±{100 * targets.PRECISION:g}",
        ],
        rows,
    )


def _mixture(stem: str, results: Mapping[str, Any]) -> dict[str, str]:
    """The table of the broad mixture, what is promised of it, and where that was measured."""
    found, machine = results["mixture"], results["machine"]
    on = f"{machine['gpu']}, " if "gpu" in machine else ""
    where = (
        f"{on}{machine['processor']}, {machine['cores']} cores, {results['config']['threads']} threads, torch "
        f"{results['versions']['torch']}; other processes {_others(results)}. "
        f"{results['config']['repeats']} rounds of {found['tasks']} tasks.\n"
    )
    return {
        f"{stem}-machine": where,
        stem: markdown_table(["", *mixture.HEADINGS], [[k, *mixture.cells(r)] for k, r in found["rows"].items()]),
        f"{stem}-targets": promises(found["targets"]),
    }  # fmt: skip


def _deployed(results: Mapping[str, Any]) -> dict[str, str]:
    """Tables of a deployed schedule: what it costs, and what is promised of that."""
    found, machine = results["deployed"], results["machine"]
    heads = [
        *(f"{heading}, µs" for heading in COLUMNS.values()),
        "called each step",
        "called to decide",
        "KiB",
    ]
    rows = [[label, *cells(row)] for label, row in found["rows"].items()]
    decisions = {int(row["decisions"]) for row in found["rows"].values()}
    where = (
        f"{machine['processor']}, one thread of {machine['cores']} cores, torch {results['versions']['torch']}; other "
        f"processes {_others(results)}. Shares "
        f"are of a run of {RUN:,} steps with {' or '.join(map(str, sorted(decisions)))} decisions.\n"
    )
    return {
        "deployed-machine": where,
        "deployed": markdown_table(["loop", *heads], rows),
        "deployed-targets": promises(found["targets"]),
    }


def _training(label: str, folder: Path) -> list[str] | None:
    """A row about a training run, out of its learning curve and a comparison of its policy."""
    curve, compared = folder / "metrics.csv", folder / "compare" / "summary.json"
    if not (curve.is_file() and compared.is_file()):
        return None
    table = pd.read_csv(curve)
    learned = Summary.load(compared).schedules[LEARNED]
    share = table["time/ppo_share"].mean() if "time/ppo_share" in table else math.nan
    return [
        label,
        f"{table['time/elapsed'].iloc[-1]:,.0f}",
        "not logged then" if math.isnan(share) else f"{share:.1%}",
        f"{table['validation/best_score'].max():.4f}",
        f"{learned.test_accuracy_mean:.2f} %",
        f"{learned.regret_mean:+.2f} points",
    ]


def _preset(folder: Path) -> str | None:
    rows = [
        _training("before", folder.parent / "cifar-mlp"),
        _training("after", folder / "cifar-mlp"),
    ]
    if None in rows:
        return None
    head = [
        "",
        "seconds",
        "PPO's share",
        "validation score",
        "held-out accuracy",
        "regret",
    ]
    return markdown_table(head, [row for row in rows if row is not None])


def blocks(folder: Path) -> dict[str, str]:
    """All blocks that the files of a folder can fill, by name."""
    made: dict[str, str] = {}
    ratios, anatomy = _read(folder, RATIOS), _read(folder, ANATOMY)
    if ratios is not None:
        made |= {"machine": _machine(ratios), "targets": _targets(ratios)}
        for name, found in ratios["networks"].items():
            made |= {f"rows-{name}": _rows(found), f"floor-{name}": _floor(found)}
    if anatomy is not None:
        for name, found in anatomy["anatomy"].items():
            made |= {f"profile-{name}": _profile(found), f"operators-{name}": _operators(found)}
    results = _read(folder, PRECISION)
    if results is not None:
        made["precision"] = _precision(results)
    made |= stack_blocks(
        {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob(STACKS)}
    )
    for path in sorted(folder.glob(ACHIEVABLE)):
        made |= _all_fastest(json.loads(path.read_text(encoding="utf-8")))
    for path in sorted(folder.glob(MIXTURE)):
        made |= _mixture(path.stem, json.loads(path.read_text(encoding="utf-8")))
    results = _read(folder, DEPLOYED)
    if results is not None:
        made |= _deployed(results)
    preset = _preset(folder)
    if preset is not None:
        made["preset"] = preset
    return made


def publish(page: Path, folder: Path) -> None:
    """Fills the page.

    Args:
        page: has the blocks.
        folder: where the JSON files are.

    Raises:
        ValueError: the page has no blocks, or lacks one that could be filled.
    """
    fill_page(page, blocks(folder))
