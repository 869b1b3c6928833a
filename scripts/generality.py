"""Judges schedules and policies on foreign loops: plain torch, with data and networks that training never saw.

python scripts/generality.py --data cifar10 --processes 2
python scripts/generality.py --policy cifar-mlp --policy runs/NAME/policy.safetensors --data cifar10
python scripts/generality.py --policy any-loop --replay --data cifar10
python scripts/generality.py --policy any-loop --no-guard --tasks digits
python scripts/generality.py --tasks digits wine --seeds 2 --policy cifar-mlp --out runs/foreign
"""

from __future__ import annotations

from lambda_rl.agents.command_line.judging import generality
from lambda_rl.agents.presenting.script import run_script

if __name__ == "__main__":
    run_script(generality)
