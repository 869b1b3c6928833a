r"""Fits the κ that ``suggest_weight_decay`` takes, from the curves of a training.

python scripts/fit_kappa.py --curves runs/any-loop/curves.csv
python scripts/fit_kappa.py --curves runs/any-loop/curves.csv --out lambda_rl/suggest/kappa_law.json \
    --terms log_epochs log_params_per_example adaptive normalised
"""

from __future__ import annotations

from lambda_rl.agents.command_line.policies import fit
from lambda_rl.agents.presenting.script import run_script

if __name__ == "__main__":
    run_script(fit)
