"""The policy file, and the policies that ship with the package.

The file is ``safetensors``: tensors and a JSON string, so loading it executes nothing. Everything in it is
checked before it is used, and whatever is off is a :class:`PolicyFileError` that names the file.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lambda_rl.files import atomic_path
from lambda_rl.policy import ACTIVATION, Policy, policy_from_arrays
from lambda_rl.policy_card import PolicyCard

DEFAULT_POLICY = "cifar-mlp"
"""Name of the shipped policy that is taken if none is named."""

_METADATA_KEY = "lambda_rl_policy"
_LARGEST_FILE = 64 * 2**20  # bytes; a policy is tens of kB


class PolicyFileError(ValueError):
    """A policy file that cannot be used; the message names the file and says why."""


def save_policy(path: str | Path, policy: Policy, card: PolicyCard | None = None) -> None:
    """Writes a policy file; the same policy and card give the same bytes.

    Args:
        path: usually ends in ``.safetensors``.
        policy: what to write.
        card: in place of ``policy.card``.

    Raises:
        PolicyFileError: the card does not fit this lambda_rl, or holds what JSON cannot.
    """
    card = policy.card if card is None else card
    try:
        card.check()
        metadata = json.dumps(
            {
                "activation": ACTIVATION,
                "clip_obs": policy.clip_obs,
                "epsilon": policy.epsilon,
                "card": card.to_dict(),
            },
            sort_keys=True,
        )
    except (ValueError, TypeError) as error:
        raise PolicyFileError(f"policy file {path}: not written: {error}") from error
    with atomic_path(path) as temporary:
        tensors = {name: np.ascontiguousarray(array) for name, array in policy.tensors().items()}
        save_file(tensors, temporary, metadata={_METADATA_KEY: metadata})


def shipped_policies() -> list[str]:
    """Names of the policies that come with the package, the default one first."""
    names = sorted(path.stem for path in _shipped_folder().glob("*.safetensors"))
    return sorted(names, key=lambda name: name != DEFAULT_POLICY)


def _shipped_folder() -> Path:
    return Path(str(resources.files("lambda_rl"))) / "policies"


def policy_path(policy: str | Path | None = None) -> Path:
    """Where the file of a policy lies; it may not exist.

    Args:
        policy: a name of :func:`shipped_policies`, or a path. None: the first of the shipped ones. A name counts
            before a file of that name; write ``./name`` for the file.

    Raises:
        PolicyFileError: neither a shipped policy nor a file, or none is shipped.
    """
    shipped = shipped_policies() if policy is None or isinstance(policy, str) else []
    if policy is None:
        if not shipped:
            raise PolicyFileError("no policy is shipped with this lambda_rl; name a policy file")
        policy = shipped[0]
    named = policy in shipped
    path = _shipped_folder() / f"{policy}.safetensors" if named else Path(policy).expanduser()
    if not path.exists() and path.suffix != ".safetensors":
        names = ", ".join(shipped_policies()) or "none"
        raise PolicyFileError(f"policy file {path}: no such file, nor a shipped policy; shipped: {names}")
    return path


def load_policy(policy: str | Path | None = None) -> Policy:
    """Reads a policy file.

    Args:
        policy: name or path, as :func:`policy_path` takes it; the path is that of a file written by
            :func:`save_policy`.

    Returns:
        The policy, with its ``card``.

    Raises:
        PolicyFileError: no such file, truncated, not safetensors, no lambda_rl metadata, another format
            version, other features, reversed λ range, wrong shapes, non-finite weights.
    """
    path = policy_path(policy)
    try:
        return _assemble(*_read(path))
    except PolicyFileError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise PolicyFileError(f"policy file {path}: {error}") from error


def _read(path: Path) -> tuple[dict[str, str], dict[str, npt.NDArray[Any]]]:
    """The metadata and the tensors of a safetensors file."""
    if not path.is_file():
        raise PolicyFileError(f"policy file {path}: no such file")
    if path.stat().st_size > _LARGEST_FILE:
        raise PolicyFileError(f"policy file {path}: {path.stat().st_size} bytes is too large for a policy")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PolicyFileError(
            f"policy file {path}: truncated, or not a safetensors file of float tensors ({error})"
        ) from error
    return metadata, tensors


def _assemble(metadata: dict[str, str], tensors: dict[str, npt.NDArray[Any]]) -> Policy:
    """The policy out of the content of its file; a ``ValueError`` says what is off."""
    if _METADATA_KEY not in metadata:
        raise ValueError(
            f"no {_METADATA_KEY!r} in the metadata: a safetensors file, but not of a lambda_rl policy"
        )
    try:
        about = json.loads(metadata[_METADATA_KEY])
    except json.JSONDecodeError as error:
        raise ValueError(f"metadata is not JSON ({error})") from error
    if not isinstance(about, dict) or not isinstance(about.get("card"), dict):
        raise ValueError("metadata: missing key 'card'")
    card = PolicyCard.from_dict(about["card"])
    missing = [key for key in ("activation", "clip_obs", "epsilon") if key not in about]
    if missing:
        raise ValueError(f"metadata: missing keys {', '.join(missing)}")
    if about["activation"] != ACTIVATION:
        raise ValueError(f"unknown activation {about['activation']!r}; allowed: {ACTIVATION}")
    depth = sum(name.endswith(".weight") for name in tensors)
    names = [
        "obs_mean",
        "obs_var",
        *(f"layers.{i}.{part}" for i in range(depth) for part in ("weight", "bias")),
    ]
    if set(names) != set(tensors):
        raise ValueError(
            f"tensors missing: {', '.join(sorted(set(names) - set(tensors))) or 'none'}; "
            f"unknown: {', '.join(sorted(set(tensors) - set(names))) or 'none'}"
        )
    return policy_from_arrays(
        obs_mean=tensors["obs_mean"],
        obs_var=tensors["obs_var"],
        layers=[(tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"]) for i in range(depth)],
        card=card,
        clip_obs=about["clip_obs"],
        epsilon=about["epsilon"],
    )
