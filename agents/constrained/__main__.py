"""Solves problems with constraints by lambda_rl.constraints and by Cooper, and compares.

python -m lambda_rl.agents.constrained --page docs/constraints.md
python -m lambda_rl.agents.constrained --problems flat floor --seeds 3 --no-cooper --out runs/constraints
"""

from __future__ import annotations

import tyro

from lambda_rl.agents.constrained.command import ConstrainedConfig, compare_constraints
from lambda_rl.agents.presenting.script import run_script


def main() -> None:
    """Reads the command line and runs."""
    compare_constraints(tyro.cli(ConstrainedConfig))


if __name__ == "__main__":
    run_script(main)
