"""Compares learned policies with tuned hand-designed schedules and constants, on tasks held out from training.

python scripts/compare.py --policy runs/NAME/policy.safetensors --suite quick-held-out --out runs/NAME/compare
python scripts/compare.py --policy A.safetensors --policy B.safetensors --suite mine.yaml --data cifar10 --out DIR
python scripts/compare.py --redraw --out DIR
"""

from __future__ import annotations

import tyro

from lambda_rl.agents.comparison.command import CompareConfig, run_comparison
from lambda_rl.agents.presenting.script import run_script


def main() -> None:
    """Reads the command line and compares."""
    run_comparison(tyro.cli(CompareConfig))


if __name__ == "__main__":
    run_script(main)
