"""The policy file, and the policies that ship with the package.

The file is ``safetensors``: tensors and a JSON string, so loading it executes nothing. Everything in it is
checked before it is used, and whatever is off is a :class:`PolicyFileError` that names the file.

The tensors are ``obs_mean`` and ``obs_var`` (float64), and ``layers.<i>.weight`` and ``layers.<i>.bias`` (float32), as
:class:`lambda_rl.Policy` takes them. The string is the metadata ``lambda_rl_policy``, an object of ``activation``,
``clip_obs``, ``epsilon``, ``card`` (:class:`lambda_rl.PolicyCard`), ``fingerprint`` (of the policy) and ``checksum``
(of all the rest and the tensors; format 1 had neither of these two).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from lambda_rl.checks import cut, did_you_mean, listed, printable, shown
from lambda_rl.files import atomic_write
from lambda_rl.policy.actor import ACTIVATION, Policy
from lambda_rl.policy.card import FORMAT_VERSION, PolicyCard

DEFAULT_POLICY = "any-loop"
"""Name of the shipped policy that is taken if none is named."""

_METADATA_KEY = "lambda_rl_policy"
_LARGEST_FILE = 64 * 2**20  # bytes; a policy is tens of kB
_CHECKED = ("fingerprint", "checksum")  # not in format 1
_KEYS = ("activation", "clip_obs", "epsilon", "card", *_CHECKED)


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
    try:
        if card is not None:
            policy = Policy(
                obs_mean=policy.obs_mean, obs_var=policy.obs_var, clip_obs=policy.clip_obs, epsilon=policy.epsilon,
                layers=policy.layers, card=card,
            )  # fmt: skip
        policy.card.check()
        tensors = {name: np.ascontiguousarray(array) for name, array in policy.tensors().items()}
        about = {
            "activation": ACTIVATION,
            "clip_obs": policy.clip_obs,
            "epsilon": policy.epsilon,
            "card": policy.card.to_dict(),
            "fingerprint": policy.fingerprint,
        }
        about["checksum"] = _checksum(about, tensors)
        metadata = json.dumps(about, sort_keys=True)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise PolicyFileError(f"policy file {path}: not written: {error}") from error
    atomic_write(path, save(tensors, {_METADATA_KEY: metadata}))


def _checksum(about: Mapping[str, Any], tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 (hex) of all that a file says but its checksum."""
    text = json.dumps({key: value for key, value in about.items() if key != "checksum"}, sort_keys=True)
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()


def shipped_policies() -> list[str]:
    """Names of the policies that come with the package, the default one first."""
    names = sorted(path.stem for path in _shipped_folder().glob("*.safetensors"))
    return sorted(names, key=lambda name: name != DEFAULT_POLICY)


def _shipped_folder() -> Path:
    return Path(str(resources.files("lambda_rl.policy"))) / "shipped"


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
        names = shipped_policies()
        raise PolicyFileError(
            f"policy file {path}: no such file, nor a shipped policy; shipped: {', '.join(names) or 'none'}"
            f"{did_you_mean(str(path), names)}"
        )
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
            version, damaged, features that this lambda_rl does not know, a number out of bounds, wrong dtypes or
            shapes, non-finite weights.
    """
    path = policy_path(policy)
    try:
        found = _assemble(*_read(path))
        # Many files are runs/<name>/policy.safetensors.
        found.name = path.stem if path.stem != "policy" else f"{path.absolute().parent.name}/policy"
        return found
    except PolicyFileError:
        raise
    except RecursionError as error:
        raise PolicyFileError(f"policy file {path}: metadata is nested too deep") from error
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise PolicyFileError(f"policy file {path}: {error}") from error


def as_policy(policy: Policy | str | Path | None) -> Policy:
    """A policy as it is, or read by :func:`load_policy`.

    Raises:
        ValueError: neither a policy nor what names one, or the file cannot be used.
    """
    if isinstance(policy, Policy):
        return policy
    if policy is None or isinstance(policy, (str, os.PathLike)):
        return load_policy(policy)
    raise ValueError(f"policy must be a lambda_rl.Policy, a name or a path, got {shown(policy)}")


def _read(path: Path) -> tuple[dict[str, str], dict[str, npt.NDArray[Any]]]:
    """The metadata and the tensors of a safetensors file."""
    if not path.is_file():
        raise PolicyFileError(f"policy file {path}: no such file")
    if path.stat().st_size > _LARGEST_FILE:
        raise PolicyFileError(f"policy file {path}: {path.stat().st_size} bytes is too large for a policy")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            dtypes = {name: file.get_slice(name).get_dtype() for name in names}
            wrong = [f"{name} {dtype}" for name, dtype in dtypes.items() if dtype != _dtype(name)]
            if wrong:
                raise PolicyFileError(
                    f"policy file {path}: tensors of another dtype than F64 (obs_mean, obs_var) and F32 (layers): "
                    f"{listed(wrong)}"
                )
            tensors = {name: file.get_tensor(name) for name in names}
    except PolicyFileError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PolicyFileError(
            f"policy file {path}: truncated, or not a safetensors file of float tensors "
            f"({printable(cut(str(error), 200))})"
        ) from error
    return metadata, tensors


def _dtype(name: str) -> str:
    return "F64" if name in ("obs_mean", "obs_var") else "F32"


def _assemble(metadata: dict[str, str], tensors: dict[str, npt.NDArray[Any]]) -> Policy:
    """The policy out of the content of its file; a ``ValueError`` says what is off."""
    about = _about(metadata)
    version = about["card"].get("format_version")
    if version == FORMAT_VERSION and about.get("checksum", "") != _checksum(about, tensors):
        raise ValueError("damaged: its checksum is not that of its content")
    card = PolicyCard.from_dict(about["card"])
    missing = [key for key in _KEYS if key not in about and not (version == 1 and key in _CHECKED)]
    if missing:
        raise ValueError(f"metadata: missing keys {listed(missing)}")
    if about["activation"] != ACTIVATION:
        raise ValueError(f"unknown activation {shown(about['activation'])}; allowed: {ACTIVATION}")
    depth = sum(name.endswith(".weight") for name in tensors)
    names = [
        "obs_mean",
        "obs_var",
        *(f"layers.{i}.{part}" for i in range(depth) for part in ("weight", "bias")),
    ]
    if set(names) != set(tensors):
        raise ValueError(
            f"tensors missing: {listed(sorted(set(names) - set(tensors)))}; "
            f"unknown: {listed(sorted(set(tensors) - set(names)))}"
        )
    policy = Policy(
        obs_mean=tensors["obs_mean"],
        obs_var=tensors["obs_var"],
        layers=[(tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"]) for i in range(depth)],
        card=card,
        clip_obs=about["clip_obs"],
        epsilon=about["epsilon"],
    )
    if version != 1 and about["fingerprint"] != policy.fingerprint:
        raise ValueError(
            f"damaged: its fingerprint is {policy.fingerprint}, the file says {shown(about['fingerprint'])}"
        )
    return policy


def _about(metadata: dict[str, str]) -> dict[str, Any]:
    """What the metadata of a file says beside its tensors."""
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
    return about
