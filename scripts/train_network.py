"""Trains one network with any schedule of λ, and says how good it is.

python scripts/train_network.py --schedule constant:0.01 --train-size 2000 --val-size 500
python scripts/train_network.py --schedule learned:policy.safetensors --network cnn3 --data cifar10 --out runs/one
"""

from __future__ import annotations

from lambda_rl.agents.command_line.judging import run
from lambda_rl.agents.presenting.script import run_script

if __name__ == "__main__":
    run_script(run)
