"""Learns λ and α by gradient, on training and on validation data, and draws docs/why-not-learn-it.md's figure.

python -m lambda_rl.agents.learning_lambda --page docs/why-not-learn-it.md
"""

from __future__ import annotations

import tyro

from lambda_rl.agents.learning_lambda.command import LearningConfig, learn
from lambda_rl.agents.presenting.script import run_script


def main() -> None:
    """Reads the command line and runs."""
    learn(tyro.cli(LearningConfig))


if __name__ == "__main__":
    run_script(main)
