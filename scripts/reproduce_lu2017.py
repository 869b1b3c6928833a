"""Reproduces the experiments of Lu (2017), figure by figure, and judges the paper's claims.

python scripts/reproduce_lu2017.py --budget smoke --data synthetic --out runs/lu2017-smoke
python scripts/reproduce_lu2017.py --budget standard --data cifar10 --out runs/lu2017 --page docs/lu2017.md
python scripts/reproduce_lu2017.py --budget full --device cuda --data cifar10 --out runs/lu2017-full
"""

from __future__ import annotations

from lambda_rl.agents.command_line.judging import reproduce
from lambda_rl.agents.presenting.script import run_script

if __name__ == "__main__":
    run_script(reproduce)
