"""The script with and without a policy, over seeds: runs what is missing, and pairs what is there."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats
from torch.optim import SGD, AdamW

from lambda_rl import Policy
from lambda_rl.agents.clusters import Spread
from lambda_rl.agents.foreign.rows import Row, add_rows
from lambda_rl.agents.gallery.mnist_script.script import Setting, User, run

SETTINGS = (
    Setting(AdamW, 10),
    Setting(AdamW, 30),
    Setting(SGD, 10),
    Setting(SGD, 30),
    Setting(AdamW, 30, "cosine"),
    Setting(SGD, 30, "cosine"),
)
"""The script as it stands at two lengths; and with a learning rate that does not vanish early in a long run."""

OWN = "default"
"""The script as it stands: the optimizer's own decay, on all parameters."""

TRUSTING = "+trust"
"""What the name of a policy that is kept near the user's own decay ends with."""

_REVISION = 1  # raised when the script's numbers change


@dataclass(frozen=True)
class Paired:
    """A contestant against the script as it stands, seed by seed.

    Attributes:
        setting: how the script was called.
        contestant: who.
        seeds: how many pairs.
        own: mean test accuracy of the script as it stands, percent.
        accuracy: mean test accuracy, percent.
        difference: mean of the differences, points.
        interval: its 95 % interval, of Student's t.
        worst: the smallest difference.
        warned: share of runs that said that something was wrong.
        kappa: geometric mean of κ over all decisions.
    """

    setting: str
    contestant: str
    seeds: int
    own: float
    accuracy: float
    difference: float
    interval: tuple[float, float]
    worst: float
    warned: float
    kappa: float


Work = tuple[Setting, int, str, User, str]
"""A run: setting, seed, name of who runs it, who, and a fingerprint."""


def digest(setting: Setting) -> str:
    """Changes with what could change a number."""
    told = f"Setting(optimizer={setting.kind!r}, epochs={setting.epochs}, rates={setting.rates!r})"
    return hashlib.sha256(f"{told} {_REVISION}".encode()).hexdigest()[:12]


def users(name: str, policy: Policy) -> dict[str, tuple[User, str]]:
    """Who runs the script, by name in tables, with the fingerprint of each."""
    return {
        OWN: (User(), ""),
        name: (User(policy), policy.fingerprint),
        name + TRUSTING: (User(policy, "auto"), policy.fingerprint + TRUSTING),
    }


def play(work: Work) -> Row:
    """One run."""
    setting, seed, name, user, fingerprint = work
    started = time.perf_counter()
    found = run(setting, seed, user)
    lams = [float(row["lam"] or 0.0) for row in found.history[:-1]]
    return Row(
        task=setting.name,
        digest=digest(setting),
        seed=seed,
        contestant=name,
        fingerprint=fingerprint,
        test_accuracy=100 * found.test[1],
        test_loss=found.test[0],
        val_accuracy=100 * found.val[1],
        val_loss=found.val[0],
        train_accuracy=100 * found.train_accuracy,
        lr_sum=found.lr_sum,
        seconds=time.perf_counter() - started,
        warned=found.warned,
        kappas=tuple(lam * found.lr_sum for lam in lams),
    )


def measure(
    path: Path, policies: dict[str, tuple[User, str]], seeds: int, known: Iterable[Row], spread: Spread
) -> None:
    """Runs what is not known yet, and adds each run to the rows as soon as it is done."""
    have = {row.key for row in known}
    work: list[Work] = [
        (setting, seed, name, user, fingerprint)
        for seed, setting, (name, (user, fingerprint)) in itertools.product(
            range(seeds), SETTINGS, policies.items()
        )
        if (setting.name, digest(setting), seed, fingerprint or name) not in have
    ]
    for finished, row in enumerate(spread(play, work), 1):
        add_rows(path, [row])
        print(f"{finished}/{len(work)} {row.task} {row.contestant} seed {row.seed}", flush=True)


def paired(rows: Sequence[Row], names: Iterable[str], seeds: int) -> list[Paired]:
    """What rows come to, of those that have all seeds."""
    table = {
        (row.task, row.contestant, row.seed): row
        for row in rows
        if any((row.task, row.digest) == (setting.name, digest(setting)) for setting in SETTINGS)
    }
    found = []
    for setting, name in itertools.product(SETTINGS, names):
        runs, own = ([table.get((setting.name, who, seed)) for seed in range(seeds)] for who in (name, OWN))
        pairs = [(mine, base) for mine, base in zip(runs, own, strict=True) if mine and base]
        if name != OWN and len(pairs) == seeds:
            found.append(_pair(setting.name, name, pairs))
    return found


def _pair(setting: str, name: str, pairs: Sequence[tuple[Row, Row]]) -> Paired:
    mine, own = (np.array([pair[i].test_accuracy for pair in pairs]) for i in (0, 1))
    differences = mine - own
    mean, count = float(differences.mean()), len(pairs)
    half = float(stats.t.ppf(0.975, count - 1) * stats.sem(differences)) if count > 1 else float("inf")
    return Paired(
        setting=setting,
        contestant=name,
        seeds=count,
        own=float(own.mean()),
        accuracy=float(mine.mean()),
        difference=mean,
        interval=(mean - half, mean + half),
        worst=float(differences.min()),
        warned=float(np.mean([row.warned for row, _ in pairs])),
        kappa=float(np.exp(np.mean([np.log(row.mean_kappa) for row, _ in pairs]))),
    )
