"""Times rollouts here and on workers, and fills docs/clusters.md.

python -m lambda_rl.agents.scaling --preset cifar-mlp --data cifar10 --page docs/clusters.md
"""

from __future__ import annotations

import tyro

from lambda_rl.agents.presenting.script import run_script
from lambda_rl.agents.scaling.command import ScalingConfig, measure_scaling


def main() -> None:
    """Reads the command line and runs."""
    measure_scaling(tyro.cli(ScalingConfig))


if __name__ == "__main__":
    run_script(main)
