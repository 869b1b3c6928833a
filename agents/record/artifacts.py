"""Policies that are Artifacts of Weights & Biases, named as W&B writes them: ``wandb-artifact://ENTITY/PROJECT/NAME:ALIAS``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from lambda_rl.files import atomic_write

PREFIX = "wandb-artifact://"
ORIGIN = "wandb-artifact.txt"
"""Beside a policy that was fetched: which version of which artifact it is."""

_FORM = re.compile(r"(?P<entity>[^/:]+)/(?P<project>[^/:]+)/(?P<name>[^/:]+)(?::(?P<alias>[^/:]+))?")


def fetched(policy: str, folder: Path) -> str:
    """Where a policy lies: what is no artifact as it is named; an artifact is fetched into a folder.

    A version (``:v3``) that is in the folder already is not fetched again; other aliases may move, and are.

    Args:
        policy: as ``--policy`` takes it.
        folder: a folder for each artifact is made in it.

    Raises:
        ValueError: it is no name of an artifact, W&B is not installed or not reached, or there is no policy in it.
    """
    if not policy.startswith(PREFIX):
        return policy
    match = _FORM.fullmatch(policy.removeprefix(PREFIX))
    if match is None:
        raise ValueError(f"{policy}: an artifact is named {PREFIX}ENTITY/PROJECT/NAME:ALIAS")
    name, alias = match["name"], match["alias"] or "latest"
    place = folder / f"{name}-{alias}"
    if not (re.fullmatch(r"v\d+", alias) and (place / ORIGIN).is_file()):
        artifact = _artifact(policy, f"{match['entity']}/{match['project']}/{name}:{alias}")
        # The version that an alias stands for now, so that a folder always holds the same.
        place = folder / f"{name}-{artifact.version}"
        _download(policy, artifact, place)
    found = sorted(place.glob("*.safetensors"))
    if len(found) != 1:
        raise ValueError(f"{policy}: holds {len(found)} policy files (*.safetensors), not one")
    return str(found[0])


def origin(policy: str | os.PathLike[str]) -> str:
    """The artifact that a policy file was fetched from, as W&B names it; empty if it was not."""
    path = Path(policy).parent / ORIGIN
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _artifact(policy: str, qualified: str) -> Any:
    """What W&B's server knows of an artifact."""
    mode = os.environ.get("WANDB_MODE", "").lower()
    if mode in ("offline", "dryrun", "disabled"):
        raise ValueError(f"{policy}: cannot be fetched, since WANDB_MODE is {mode}")
    try:
        import wandb
    except ModuleNotFoundError:
        raise ValueError(
            f"{policy}: needs wandb, which is not installed: pip install 'lambda-rl[train]'"
        ) from None
    try:
        return wandb.Api().artifact(qualified, type="model")
    except Exception as error:  # of the network, of the login, or of a name that there is not
        raise ValueError(
            f"{policy}: W&B did not give it ({_short(error)}); `wandb login` logs in; a policy file needs no network"
        ) from None


def _download(policy: str, artifact: Any, place: Path) -> None:
    try:
        artifact.download(root=str(place))
    except Exception as error:  # likewise
        raise ValueError(f"{policy}: could not be downloaded ({_short(error)})") from None
    atomic_write(place / ORIGIN, f"{artifact.qualified_name}\n")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
