"""The checkout: where things lie, the README's blocks of code, which packages a room may import."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
DOCS = ROOT / "docs"
GOLDEN = TESTS / "golden"
HELPERS = TESTS / "helpers"
README = ROOT / "README.md"
FLOORS = {
    "lambda_rl": ROOT / "lambda_rl",
    "lambda_rl.envs": ROOT / "envs",
    "lambda_rl.agents": ROOT / "agents",
}

# Third-party packages that a floor may import at all (beside the standard library).
BASE = {"torch", "numpy", "safetensors"}
ENVS = BASE | {"gymnasium", "torchvision", "matplotlib", "PIL", "platformdirs", "pydantic", "scipy", "yaml"}
AGENTS = ENVS | {
    "stable_baselines3",
    "wandb",
    "pandas",
    "rich",
    "tyro",
    "jinja2",
    "sklearn",
    "mnist1d",
    "optuna",
    "cloudpickle",
    "ray",
}
# A framework is allowed inside its own integration module only, and matplotlib where figures of a history are drawn.
INTEGRATIONS = {
    "lambda_rl.seeing.figure": {"matplotlib"},
    "lambda_rl.integrations.lightning": {"lightning", "pytorch_lightning"},
    "lambda_rl.integrations.huggingface": {"transformers"},
}


def blocks(language: str) -> list[str]:
    """The README's blocks of code in a language."""
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)


def sources(*folders: str) -> list[Path]:
    """All Python files of some folders of the checkout."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    """Where it lies in the checkout."""
    return path.relative_to(ROOT).as_posix()


def modules(*floors: str) -> dict[str, Path]:
    """Files of the modules of floors (none named: of all), rooms within rooms too, by their installed names."""
    found = {}
    for floor in floors or FLOORS:
        folder = FLOORS[floor]
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join([floor, *(parts[:-1] if parts[-1] == "__init__" else parts)])] = path
    return found
