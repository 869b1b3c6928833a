"""Trains an agent and leaves a run folder with its policy.

    python scripts/train_agent.py --preset quick
    python scripts/train_agent.py --preset cifar-mlp --data folder:PATH --seed 1 --ppo.learning-rate 5e-4
    python scripts/train_agent.py --resume runs/NAME

A preset sets all options; those given beside it replace its own.
"""

from __future__ import annotations

from lambda_rl.agents.command_line.training import train_agent
from lambda_rl.agents.presenting.script import run_script

if __name__ == "__main__":
    run_script(train_agent)
