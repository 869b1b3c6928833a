"""Blocks of ``docs/performance.md`` about stacks on a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambda_rl.agents.benchmark.accelerator.measure import WAYS
from lambda_rl.agents.benchmark.targets import promises_by_network
from lambda_rl.agents.presenting.markdown import markdown_table

HEADINGS = ("network-steps/s", "times the first row", "of the kernels", "GiB")


def stack_blocks(files: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """By name of a block, out of a benchmark's files with what :func:`~.rows.accelerator` found, by their stems."""
    made: dict[str, str] = {}
    checks, passed = [], []
    for stem, results in sorted(files.items()):
        machine = results["machine"]
        made[f"{stem}-machine"] = (
            f"{machine.get('gpu', machine['processor'])}, {machine['processor']} with {machine['cores']} cores, torch "
            f"{results['versions']['torch']}. {results['config']['repeats']} interleaved repeats.\n"
        )
        made |= {f"{stem}-{name}": _rows(network["rows"]) for name, network in results["stacks"].items()}
    found = [pair for _, results in sorted(files.items()) for pair in results["stacks"].items()]
    for name, network in found:
        checks += [(name, check) for check in network["targets"]]
        captured = [
            f"{precision}: {'to the last bit' if told['same'] else format(told['difference'], '.1e')}"
            for precision, told in network["captured"].items()
        ]
        passed.append(
            [name, *(str(network["transfers"][way]) for way in WAYS), "; ".join(captured), *_failed(network)]
        )
    if not found:
        return {}
    made["stacks-targets"] = promises_by_network(checks)
    heads = [
        "network",
        *(f"copies {text}" for text in WAYS.values()),
        "captured and not, the same",
        "no room for",
    ]
    made["stacks-more"] = markdown_table(heads, passed)
    return made


def _failed(network: Mapping[str, Any]) -> list[str]:
    return ["; ".join(line.split(":")[0] for line in network["failed"])]


def _rows(rows: Mapping[str, Mapping[str, Any]]) -> str:
    table = [
        [
            label,
            f"{row['steps_per_second']:,.0f}",
            f"{row['ratio']:.2f}",
            f"{row['share_of_fastest']:.0%}" if "share_of_fastest" in row else "",
            f"{row['bytes'] / 2**30:.2f}" if "bytes" in row else "",
        ]
        for label, row in rows.items()
    ]
    filled = [column for column in range(1 + len(HEADINGS)) if any(row[column] for row in table)]
    heads = ["", *HEADINGS]
    return markdown_table([heads[column] for column in filled], [[row[c] for c in filled] for row in table])
