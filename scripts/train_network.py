"""Trains one network with any schedule of λ, and says how good it is.

python scripts/train_network.py --schedule constant:0.01 --train-size 2000 --val-size 500
python scripts/train_network.py --schedule learned:policy.safetensors --network cnn3 --data cifar10 --out runs/one
"""

from __future__ import annotations

import tyro

from lambda_rl.agents.presenting.script import run_script
from lambda_rl.agents.single_run import NetworkConfig, train_one


def main() -> None:
    """Reads the command line and trains."""
    train_one(tyro.cli(NetworkConfig, config=(tyro.conf.OmitArgPrefixes,)))


if __name__ == "__main__":
    run_script(main)
