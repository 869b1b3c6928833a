"""Nothing but torch, numpy and safetensors is asked for: the extras are there, but hidden."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from places import blocks
from tiny_schedules import CARD15, make_policy

from lambda_rl import save_policy

BLOCKED = """
import sys
EXTRA = {"gymnasium", "stable_baselines3", "wandb", "torchvision", "matplotlib", "pandas", "yaml", "tyro", "rich",
         "platformdirs", "PIL", "lightning", "pytorch_lightning", "transformers", "accelerate", "timm", "hypothesis"}
NEVER = {"gymnasium", "stable_baselines3", "wandb"}
asked = set()
class Finder:  # finds what an environment without the extras has, and nothing else
    finders = list(sys.meta_path)
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        asked.add(root)
        if root in EXTRA or name.startswith(("lambda_rl.envs", "lambda_rl.agents")):
            return None
        found = (f.find_spec(name, path, target) for f in self.finders if hasattr(f, "find_spec"))
        return next((spec for spec in found if spec is not None), None)
sys.meta_path[:] = [Finder()]
"""


def test_the_command_needs_the_base_install_only(tmp_path: Path) -> None:
    path = str(tmp_path / "policy.safetensors")
    save_policy(path, make_policy())
    code = f"from lambda_rl.cli import main; sys.exit(main(['info', {path!r}]))"
    done = subprocess.run([sys.executable, "-c", BLOCKED + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "fingerprint" in done.stdout


def test_the_readmes_loop_needs_torch_numpy_and_safetensors_only(tmp_path: Path) -> None:
    (loop,) = (block for block in blocks("python") if "LearnedSchedule(" in block)
    policy = make_policy(card=CARD15)
    save_policy(tmp_path / "runs" / "demo" / "policy.safetensors", policy)
    (tmp_path / "loop.py").write_text(
        # its data are noise: without a seed, one in six is at chance long enough for the guard to hold λ
        f"{BLOCKED}\nimport torch\ntorch.manual_seed(0)\n{loop}\n"
        "assert len({row['lam'] for row in schedule.history}) > 10\n"
        "assert not NEVER & asked, NEVER & asked\n"
        "assert not (NEVER | EXTRA) & {name.partition('.')[0] for name in sys.modules}\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "loop.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
