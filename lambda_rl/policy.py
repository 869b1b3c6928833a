"""The policy file: a small actor network, its observation normaliser, and a card that says what it is.

The file is ``safetensors``: tensors and a JSON string, so loading it executes nothing. Everything in it is
checked before it is used, and whatever is off is a :class:`PolicyFileError` that names the file.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lambda_rl.control import ControlLaw
from lambda_rl.features import FEATURES, FEATURES_VERSION, NUM_FEATURES
from lambda_rl.files import atomic_path
from lambda_rl.penalties import PENALTIES

FORMAT_VERSION = 1
"""Raised whenever an older program could misread a newer file."""

LAM_MEANINGS: tuple[str, ...] = ("coupled", "decoupled", "any")
"""What λ may mean for a policy; "any": it was trained with both."""

DEFAULT_POLICY = "cifar-mlp"
"""Name of the shipped policy that is taken if none is named."""

_METADATA_KEY = "lambda_rl_policy"
_ACTIVATION = "tanh"
_LARGEST_FILE = 64 * 2**20  # bytes; a policy is tens of kB

Array64 = npt.NDArray[np.float64]


class PolicyFileError(ValueError):
    """A policy file that cannot be used; the message names the file and says why."""


@dataclass(frozen=True)
class PolicyCard:
    """What a policy is and where it comes from.

    Attributes:
        max_change: log₁₀ λ added by an action of 1, decades.
        log_lam_min: log₁₀ of the smallest λ.
        log_lam_max: log₁₀ of the largest λ.
        lam_meaning: one of :data:`LAM_MEANINGS`, see "What λ means" in the README.
        penalty: the penalty that λ stands before, one of ``lambda_rl.PENALTIES``, or "any".
        decisions: decisions in a run as it was trained (the interval is a run's steps over it).
        suite: training suite.
        data: training data.
        commit: of the code that trained it.
        command: that trained it.
        results: measured results, any JSON.
        initial_lam: λ to start from if the user names none; None: the geometric middle of the range.
        features: names of the observation's entries, in order.
        features_version: version of their meaning.
        format_version: of the file.
        notes: what it is good for and when not to use it.
    """

    max_change: float
    log_lam_min: float
    log_lam_max: float
    lam_meaning: str = "coupled"
    penalty: str = "l2"
    decisions: int = 20
    suite: str = ""
    data: str = ""
    commit: str = ""
    command: str = ""
    results: dict[str, Any] = field(default_factory=dict)
    initial_lam: float | None = None
    features: tuple[str, ...] = FEATURES
    features_version: int = FEATURES_VERSION
    format_version: int = FORMAT_VERSION
    notes: str = ""

    @property
    def control(self) -> ControlLaw:
        """The control law that turns the policy's actions into λ."""
        return ControlLaw(self.log_lam_min, self.log_lam_max, self.max_change)

    def check(self) -> None:
        """Raises a ``ValueError`` if anything is not as this version of lambda_rl needs it."""
        if self.format_version != FORMAT_VERSION:
            raise ValueError(
                f"format version {self.format_version!r} is not known; this lambda_rl reads {FORMAT_VERSION}"
            )
        unknown = [name for name in self.features if name not in FEATURES]
        missing = [name for name in FEATURES if name not in self.features]
        if unknown or missing:
            raise ValueError(
                "feature list differs from this lambda_rl's: "
                f"unknown {', '.join(map(repr, unknown)) or 'none'}; missing {', '.join(map(repr, missing)) or 'none'}"
            )
        if tuple(self.features) != FEATURES:
            raise ValueError(
                f"features are in another order than this lambda_rl's: {', '.join(self.features)}"
            )
        if self.features_version != FEATURES_VERSION:
            raise ValueError(
                f"features version {self.features_version!r} is not known; this lambda_rl has {FEATURES_VERSION}"
            )
        control = self.control  # refuses a reversed range
        if self.lam_meaning not in LAM_MEANINGS:
            raise ValueError(f"unknown lam_meaning {self.lam_meaning!r}; allowed: {', '.join(LAM_MEANINGS)}")
        if self.penalty not in (*PENALTIES, "any"):
            raise ValueError(f"unknown penalty {self.penalty!r}; allowed: {', '.join(PENALTIES)}, any")
        if self.decisions < 1:
            raise ValueError(f"decisions must be 1 or more, got {self.decisions}")
        if self.initial_lam is not None and not (
            self.initial_lam > 0
            and control.log_lam_min - 1e-9 <= math.log10(self.initial_lam) <= control.log_lam_max + 1e-9
        ):
            raise ValueError(f"initial_lam {self.initial_lam} lies outside the λ range of the policy")

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {**asdict(self), "features": list(self.features)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> PolicyCard:
        """From plain values; checks names and types, then :meth:`check`.

        Raises:
            ValueError: a key is missing or unknown, a value is of the wrong type, or :meth:`check` fails.
        """
        # The version first: a newer file may well have other keys, and the version is what explains them.
        version = values.get("format_version")
        if version != FORMAT_VERSION:
            told = "is missing" if version is None else f"{version!r} is not known"
            raise ValueError(f"format version {told}; this lambda_rl reads {FORMAT_VERSION}")
        names = [item.name for item in fields(cls)]
        missing = [name for name in names if name not in values]
        unknown = [name for name in values if name not in names]
        if missing or unknown:
            raise ValueError(
                f"card: missing keys {', '.join(missing) or 'none'}; unknown keys {', '.join(unknown) or 'none'}"
            )
        kinds: dict[str, type | tuple[type, ...]] = {
            "results": dict,
            "features": (list, tuple),
            "initial_lam": (int, float, type(None)),
            **dict.fromkeys(("max_change", "log_lam_min", "log_lam_max"), (int, float)),
            **dict.fromkeys(("decisions", "features_version", "format_version"), int),
        }
        for name in names:
            kind = kinds.get(name, str)
            if not isinstance(values[name], kind) or isinstance(values[name], bool):
                raise ValueError(f"card: {name} has the wrong type: {values[name]!r}")
        card = cls(**{**values, "features": tuple(values["features"])})
        card.check()
        return card


class Policy:
    """A deterministic actor: normalise, tanh layers, linear layer, clip to [-1, 1].

    Gives what Stable-Baselines3's ``predict(deterministic=True)`` gives for a PPO ``MlpPolicy`` behind
    ``VecNormalize``. The sums are made in float64, so that the action does not depend on how many slots are
    asked for at once.

    Args:
        obs_mean: ``[F]``, float64.
        obs_var: ``[F]``, float64, 0 or more.
        clip_obs: normalised observations are clipped to ± this.
        epsilon: added to the variance.
        layers: (weight ``[out, in]``, bias ``[out]``), float32; the last has one output.
        card: what the policy is.

    Raises:
        ValueError: shapes do not fit, or a number is not finite.
    """

    def __init__(
        self,
        *,
        obs_mean: npt.ArrayLike,
        obs_var: npt.ArrayLike,
        clip_obs: float,
        epsilon: float,
        layers: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
        card: PolicyCard,
    ) -> None:
        self.obs_mean, self.obs_var = np.array(obs_mean, np.float64), np.array(obs_var, np.float64)
        self.clip_obs, self.epsilon = float(clip_obs), float(epsilon)
        self.layers = [(np.array(w, np.float32), np.array(b, np.float32)) for w, b in layers]
        self.card = card
        self._check()
        self._std = np.sqrt(self.obs_var + self.epsilon)
        self._wide = [(w.T.astype(np.float64), b.astype(np.float64)) for w, b in self.layers]

    def _check(self) -> None:
        for name in ("obs_mean", "obs_var"):
            shape = getattr(self, name).shape
            if shape != (NUM_FEATURES,):
                raise ValueError(
                    f"{name} has shape {list(shape)}, expected [{NUM_FEATURES}] (one per feature)"
                )
        if not self.layers:
            raise ValueError("a policy needs at least one layer")
        width = NUM_FEATURES
        for i, (weight, bias) in enumerate(self.layers):
            if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
                raise ValueError(
                    f"layer {i} has weight {list(weight.shape)} and bias {list(bias.shape)}, "
                    f"expected [n, {width}] and [n]"
                )
            width = weight.shape[0]
        if width != 1:
            raise ValueError(f"the last layer has {width} outputs, expected 1 (one action)")
        for name, array in self.tensors().items():
            if not np.isfinite(array).all():
                raise ValueError(f"non-finite numbers (NaN or infinity) in {name}")
        if (self.obs_var < 0).any():
            raise ValueError("obs_var has negative numbers")
        if not (0 < self.clip_obs < math.inf and 0 < self.epsilon < math.inf):
            raise ValueError(f"clip_obs and epsilon must be positive, got {self.clip_obs} and {self.epsilon}")

    def act(self, obs: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """The deterministic action.

        Args:
            obs: ``[N, F]`` features, or ``[F]``.

        Returns:
            float32 ``[N, 1]`` (or ``[1]``) in [-1, 1].
        """
        # minimum/maximum are several times faster than np.clip on arrays this small; a NaN goes through both.
        hidden = np.subtract(obs, self.obs_mean)
        hidden /= self._std
        np.maximum(hidden, -self.clip_obs, out=hidden)
        np.minimum(hidden, self.clip_obs, out=hidden)
        hidden = hidden.astype(np.float32).astype(np.float64)  # VecNormalize hands float32 on
        for weight, bias in self._wide[:-1]:
            hidden = hidden @ weight
            hidden += bias
            np.tanh(hidden, out=hidden)
        weight, bias = self._wide[-1]
        return np.minimum(np.maximum(hidden @ weight + bias, -1.0), 1.0).astype(np.float32)

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """Everything numeric by the name it has in the file."""
        named: dict[str, npt.NDArray[Any]] = {"obs_mean": self.obs_mean, "obs_var": self.obs_var}
        for i, (weight, bias) in enumerate(self.layers):
            named[f"layers.{i}.weight"], named[f"layers.{i}.bias"] = weight, bias
        return named

    @property
    def fingerprint(self) -> str:
        """Hex digest of weights, normaliser and control law: equal if and only if the behaviour is."""
        card = self.card
        digest = hashlib.sha256(
            repr((self.clip_obs, self.epsilon, card.max_change, card.log_lam_min, card.log_lam_max)).encode()
        )
        for name, array in self.tensors().items():
            digest.update(name.encode() + str(array.shape).encode() + array.tobytes())
        return digest.hexdigest()[:16]


def policy_from_arrays(
    *,
    obs_mean: npt.ArrayLike,
    obs_var: npt.ArrayLike,
    layers: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    card: PolicyCard,
    clip_obs: float = 10.0,
    epsilon: float = 1e-8,
) -> Policy:
    """A policy out of arrays, checked; the defaults are those of SB3's ``VecNormalize``.

    For a PPO ``model`` with ``MlpPolicy`` and a ``VecNormalize`` called ``norm``: ``obs_mean =
    norm.obs_rms.mean``, ``obs_var = norm.obs_rms.var``, ``clip_obs = norm.clip_obs``, ``epsilon =
    norm.epsilon``, and ``layers`` are weight and bias of the linear layers of
    ``model.policy.mlp_extractor.policy_net``, then of ``model.policy.action_net``.

    Args:
        obs_mean: ``[F]``.
        obs_var: ``[F]``.
        layers: (weight ``[out, in]``, bias ``[out]``), first to last; tanh between them.
        card: what the policy is.
        clip_obs: see :class:`Policy`.
        epsilon: see :class:`Policy`.

    Raises:
        ValueError: shapes, non-finite numbers, or a card that does not fit this lambda_rl.
    """
    card.check()
    return Policy(
        obs_mean=obs_mean, obs_var=obs_var, clip_obs=clip_obs, epsilon=epsilon, layers=layers, card=card
    )


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
                "activation": _ACTIVATION,
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


def load_policy(policy: str | Path | None = None) -> Policy:
    """Reads a policy file.

    Args:
        policy: a name of :func:`shipped_policies`, or the path of a file written by :func:`save_policy`. None: the
            first of the shipped ones. A name counts before a file of that name; write ``./name`` for the file.

    Returns:
        The policy, with its ``card``.

    Raises:
        PolicyFileError: no such file, truncated, not safetensors, no lambda_rl metadata, another format
            version, other features, reversed λ range, wrong shapes, non-finite weights.
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
    try:
        return _load(path)
    except PolicyFileError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError) as error:
        raise PolicyFileError(f"policy file {path}: {error}") from error


def _load(path: Path) -> Policy:
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
    if about["activation"] != _ACTIVATION:
        raise ValueError(f"unknown activation {about['activation']!r}; allowed: {_ACTIVATION}")
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


def describe(policy: Policy) -> str:
    """The card of a policy as text for a terminal, with a newline at the end."""
    card = policy.card
    sizes = " → ".join(str(n) for n in (NUM_FEATURES, *(w.shape[0] for w, _ in policy.layers)))
    start = "middle of the range" if card.initial_lam is None else f"{card.initial_lam:g}"
    rows = {
        "network": f"{sizes}, {_ACTIVATION}",
        "fingerprint": policy.fingerprint,
        "λ range": f"{10**card.log_lam_min:.3g} to {10**card.log_lam_max:.3g}, start {start}",
        "largest change": f"a factor of {10**card.max_change:.3g} a decision",
        "λ means": f"{card.lam_meaning} decay, penalty {card.penalty}",
        "decisions in a run": str(card.decisions),
        "trained on": ", ".join(filter(None, (card.suite, card.data))) or "not stated",
        "commit": card.commit or "not stated",
        "command": card.command or "not stated",
        "notes": card.notes or "none",
        "features": f"version {card.features_version}: {', '.join(card.features)}",
        "format": str(card.format_version),
    }
    lines = [f"{name:<19} {text}" for name, text in rows.items()]
    lines += (
        ["results", *(f"  {key}: {value}" for key, value in card.results.items())] if card.results else []
    )
    return "\n".join(lines) + "\n"
