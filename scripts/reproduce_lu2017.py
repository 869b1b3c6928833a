"""Reproduces the experiments of Lu (2017), figure by figure, and judges the paper's claims.

python scripts/reproduce_lu2017.py --budget smoke --data synthetic --out runs/lu2017-smoke
python scripts/reproduce_lu2017.py --budget standard --data cifar10 --out runs/lu2017 --page docs/lu2017.md
python scripts/reproduce_lu2017.py --budget full --device cuda --data cifar10 --out runs/lu2017-full
"""

from __future__ import annotations

import tyro

from lambda_rl.agents.presenting.script import run_script
from lambda_rl.agents.reproduction.lu2017.command import ReproduceConfig, run_reproduction


def main() -> None:
    """Reads the command line and reproduces."""
    run_reproduction(tyro.cli(ReproduceConfig))


if __name__ == "__main__":
    run_script(main)
