r"""Fits the κ that ``suggest_weight_decay`` takes, from the curves of a training.

python scripts/fit_kappa.py --curves runs/any-loop/curves.csv
python scripts/fit_kappa.py --curves runs/any-loop/curves.csv --out lambda_rl/suggest/kappa_law.json \
    --terms log_epochs log_params_per_example adaptive normalised
"""

from __future__ import annotations

import tyro

from lambda_rl.agents.baselines.kappa_curves import FitKappaConfig, fit_kappa
from lambda_rl.agents.presenting.script import run_script
from lambda_rl.agents.record.provenance import command_line


def main() -> None:
    """Reads the command line, fits, says what it comes to."""
    print(fit_kappa(tyro.cli(FitKappaConfig), command_line()))


if __name__ == "__main__":
    run_script(main)
