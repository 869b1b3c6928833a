r"""Policies of a run's experience that lack one family of features each, to be judged beside the whole one.

python scripts/ablate_features.py --run runs/any-loop --out runs/ablation
python scripts/generality.py --out docs/results/ablation --policy any-loop \
    --policy runs/ablation/any-loop-without-facts.safetensors ... --data cifar10
"""

from __future__ import annotations

from lambda_rl.agents.command_line.policies import ablate
from lambda_rl.agents.presenting.script import run_script

if __name__ == "__main__":
    run_script(ablate)
