"""Small policies, and policy files with something wrong in them."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from lambda_rl import FEATURES, Knob, Policy, PolicyCard, RunFacts, policy_from_arrays, save_policy
from lambda_rl.knobs import KNOBS
from lambda_rl.observation import all_features

LAM = Knob("lam", -5.0, 0.5, 0.5)
CARD = PolicyCard(
    knobs=(LAM,),
    suite="cifar-mlp",
    data="synthetic",
    commit="abc123",
    command="train_agent.py --preset quick",
    results={"test_accuracy": 0.36, "tasks": ["a", "b"]},
)
FACTS = RunFacts(num_train=5000, num_params=1000, val_size=500, num_classes=10, epochs=10.0, lr_sum=30.0)
FORMAT_1 = Path(__file__).parent.parent / "golden" / "format-1.safetensors"


def make_policy(seed: int = 0, card: PolicyCard = CARD, hidden: int = 16, scale: float = 0.5) -> Policy:
    """A random policy of two hidden layers, for the features and knobs of its card."""
    rng = np.random.default_rng(seed)
    width = len(card.features)
    return policy_from_arrays(
        obs_mean=rng.normal(size=width),
        obs_var=rng.uniform(0.1, 2.0, width),
        layers=[
            (scale * rng.normal(size=(n, m)), scale * rng.normal(size=n))
            for m, n in itertools.pairwise((width, hidden, hidden, len(card.knobs)))
        ],
        card=card,
    )


def policy_of_two(*knobs: Knob) -> Policy:
    """A policy of λ and another knob that always asks for less of both, from most λ and the knob as if not there."""
    features = tuple(all_features(knobs[1:]))
    initial = (10 ** knobs[0].log_high, KNOBS[knobs[1].name].neutral)
    policy = make_policy(
        card=replace(CARD, knobs=knobs, features=features, feature_versions=(), initial=initial)
    )
    *layers, (weight, bias) = policy.layers
    return Policy(
        obs_mean=policy.obs_mean, obs_var=policy.obs_var, layers=[*layers, (0 * weight, 0 * bias - 0.5)],
        clip_obs=policy.clip_obs, epsilon=policy.epsilon, card=policy.card,
    )  # fmt: skip


def observations(count: int = 9, seed: int = 0) -> np.ndarray:
    """``[count, len(FEATURES)]`` within the features' bounds."""
    return np.random.default_rng(seed).uniform(-5, 5, (count, len(FEATURES))).astype(np.float32)


def content(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The JSON and the tensors of a policy file."""
    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        return json.loads(file.metadata()["lambda_rl_policy"]), {n: file.get_tensor(n) for n in names}


def checksum(about: Mapping[str, Any], tensors: Mapping[str, np.ndarray]) -> str:
    """Told apart from the code that writes it."""
    rest = {key: value for key, value in about.items() if key != "checksum"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def rewrite(
    path: Path,
    *,
    tensors: Mapping[str, np.ndarray] | None = None,
    metadata: Callable[[dict[str, Any]], object] | None = None,
    drop: Iterable[str] = (),
    source: Path | None = None,
    seal: bool = True,
) -> Path:
    """A policy file with other tensors, or other keys in its JSON.

    Args:
        path: of the new file.
        tensors: in place of its own, or more.
        metadata: changes the JSON.
        drop: tensors to leave out.
        source: the file to change; None: one of :func:`make_policy`.
        seal: whether the checksum is that of the changed content.
    """
    if source is None:
        save_policy(path, make_policy())
    about, arrays = content(source or path)
    if metadata is not None:
        metadata(about)
    for name in drop:
        del arrays[name]
    arrays.update(tensors or {})
    if seal and "checksum" in about:
        about["checksum"] = checksum(about, arrays)
    save_file(arrays, path, metadata={"lambda_rl_policy": json.dumps(about)})
    return path
