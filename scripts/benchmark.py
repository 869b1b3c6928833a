"""Times our environment against plain loops in processes, vmap, DACBench and the machine's own limits.

python scripts/benchmark.py --json runs/benchmark.json
"""

from __future__ import annotations

from lambda_rl.agents.command_line.judging import bench
from lambda_rl.agents.presenting.script import run_script

if __name__ == "__main__":
    run_script(bench)
