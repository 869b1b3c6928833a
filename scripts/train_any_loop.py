"""Trains a policy for loops of any kind, and leaves a run folder with it.

    python scripts/train_any_loop.py --data cifar10 --name any-loop
    python scripts/train_any_loop.py --data cifar10 --name any-loop --resume

A warm start on what constants of κ cost, then reinforcement by PPO; docs/generality.md says what it comes to.
"""

from __future__ import annotations

from lambda_rl.agents.command_line.any_loop import train_any_loop
from lambda_rl.agents.presenting.script import run_script

if __name__ == "__main__":
    run_script(train_any_loop)
