"""Writes the policy file of a training run, also of one that is still going on or was stopped.

python scripts/export_policy.py runs/NAME --out policy.safetensors
"""

from __future__ import annotations

from lambda_rl.agents.command_line.policies import export
from lambda_rl.agents.presenting.script import run_script

if __name__ == "__main__":
    run_script(export)
