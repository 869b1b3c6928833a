"""Times our environment against plain loops in processes, vmap, DACBench and the machine's own limits.

python scripts/benchmark.py --json runs/benchmark.json
"""

from __future__ import annotations

import tyro

from lambda_rl.agents.benchmark.command import BenchmarkConfig, benchmark
from lambda_rl.agents.presenting.script import run_script


def main() -> None:
    """Reads the command line and times."""
    benchmark(tyro.cli(BenchmarkConfig))


if __name__ == "__main__":
    run_script(main)
