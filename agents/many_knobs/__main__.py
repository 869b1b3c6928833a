"""Compares one knob with several, and one λ with one for each layer; fills docs/knobs.md and docs/one-or-many.md.

python -m lambda_rl.agents.many_knobs --study two-knobs --data cifar10 --pages docs/knobs.md docs/one-or-many.md
"""

from __future__ import annotations

import tyro

from lambda_rl.agents.many_knobs.command import ManyKnobsConfig, compare_knobs
from lambda_rl.agents.presenting.script import run_script


def main() -> None:
    """Reads the command line and runs."""
    compare_knobs(tyro.cli(ManyKnobsConfig))


if __name__ == "__main__":
    run_script(main)
