"""Writes the facts and numbers of model cards anew, out of the policy files beside them and of measured results.

python scripts/model_card.py                                   # the cards of the policies that ship
python scripts/model_card.py NAME.md --results docs/results
"""

from __future__ import annotations

from lambda_rl.agents.command_line.policies import write_cards
from lambda_rl.agents.presenting.script import run_script

if __name__ == "__main__":
    run_script(write_cards)
