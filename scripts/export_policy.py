"""Writes the policy file of a training run, also of one that is still going on or was stopped.

python scripts/export_policy.py runs/NAME --out policy.safetensors
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from lambda_rl.agents.ppo.export import export_policy
from lambda_rl.agents.presenting.script import run_script


@dataclass(frozen=True)
class Options:
    """Writes the policy file of a training run.

    Attributes:
        source: run folder or checkpoint file.
        out: file to write; by default policy.safetensors in the run folder.
        last: the last policy in place of the best by validation.
    """

    source: tyro.conf.Positional[Path]
    out: Path | None = None
    last: bool = False


def main() -> None:
    """Reads the command line, exports, says where the policy is."""
    options = tyro.cli(Options)
    print(f"policy: {export_policy(options.source, options.out, last=options.last)}")


if __name__ == "__main__":
    run_script(main)
