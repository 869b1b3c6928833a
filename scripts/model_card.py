"""Writes the facts and numbers of model cards anew, out of the policy files beside them and of measured results.

python scripts/model_card.py                                   # the cards of the policies that ship
python scripts/model_card.py NAME.md --results docs/results
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from lambda_rl.agents.model_cards import update_card
from lambda_rl.agents.presenting.script import run_script
from lambda_rl.policy.file import policy_path, shipped_policies


@dataclass(frozen=True)
class Options:
    """Writes the facts and numbers of model cards anew.

    Attributes:
        cards: model cards, each beside the policy file of the same name; none: those of the policies that ship.
        results: folder whose summary.json files are looked through.
    """

    cards: tyro.conf.Positional[tuple[Path, ...]] = ()
    results: Path = Path("docs/results")


def main() -> None:
    """Reads the command line, updates each card, says whether it changed."""
    options = tyro.cli(Options)
    for card in options.cards or [policy_path(name).with_suffix(".md") for name in shipped_policies()]:
        print(f"{card}: {'written' if update_card(card, options.results) else 'up to date'}")


if __name__ == "__main__":
    run_script(main)
