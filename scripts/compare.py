"""Compares learned policies with tuned hand-designed schedules and constants, on tasks held out from training.

python scripts/compare.py --policy runs/NAME/policy.safetensors --suite quick-held-out --out runs/NAME/compare
python scripts/compare.py --policy A.safetensors --policy B.safetensors --suite mine.yaml --data cifar10 --out DIR
python scripts/compare.py --redraw --out DIR
"""

from __future__ import annotations

from lambda_rl.agents.command_line.judging import compare
from lambda_rl.agents.presenting.script import run_script

if __name__ == "__main__":
    run_script(compare)
