"""Named starting points of training runs."""

from __future__ import annotations

from dataclasses import replace

from lambda_rl.agents.ppo.config import PPOConfig, TrainConfig
from lambda_rl.checks import did_you_mean
from lambda_rl.envs.reward import RewardConfig

_CIFAR = TrainConfig(
    data="cifar10",
    eval_every=5,
    eval_seeds=2,
    ppo=PPOConfig(n_envs=32, n_steps=60),
    reward=RewardConfig(log_loss_weight=0.5, outer_size=300),
)

PRESETS: dict[str, TrainConfig] = {
    # Many small updates: it has to get somewhere in two minutes.
    "quick": TrainConfig(
        total_decisions=40_320,
        eval_every=14,
        eval_seeds=2,
        ppo=PPOConfig(n_envs=32, n_steps=15, batch_size=240),
        reward=_CIFAR.reward,
    ),
    # For `make demo`: κ starts where most runs want it to be, so that little is left to find.
    "demo": TrainConfig(
        preset="demo",
        data="table:teacher:20x8x20000:7",
        suite="demo",
        unit="kappa",
        total_decisions=18_432,
        eval_every=6,
        eval_seeds=2,
        ppo=PPOConfig(n_envs=32, n_steps=12, batch_size=192),
        reward=_CIFAR.reward,
    ),
    "cifar-mlp": replace(
        _CIFAR, preset="cifar-mlp", suite="cifar-mlp", total_decisions=134_400, compile=True
    ),
    # Many small updates, and less noise: two and a half minutes (docs/performance.md).
    "cifar-mlp-fast": replace(
        _CIFAR,
        preset="cifar-mlp-fast",
        suite="cifar-mlp",
        total_decisions=33_600,
        eval_every=35,
        compile=True,
        ppo=PPOConfig(n_envs=32, n_steps=15, batch_size=240, log_std_init=-1.2),
    ),
    "cifar-cnn": replace(_CIFAR, preset="cifar-cnn", suite="cifar-cnn", total_decisions=76_800, compile=True),
    "cifar-mixed": replace(
        _CIFAR,
        preset="cifar-mixed",
        suite="cifar-mixed",
        total_decisions=61_440,
        eval_every=4,
        eval_seeds=1,
        compile=True,
    ),
    "cifar-resnet9": replace(
        _CIFAR, preset="cifar-resnet9", suite="cifar-resnet9", total_decisions=57_600, device="auto"
    ),
}
"""Named starting points. ``demo`` and ``quick`` need no download and take a minute or two; ``cifar-resnet9`` wants a
GPU."""


def preset(name: str) -> TrainConfig:
    """The preset of that name.

    Raises:
        ValueError: there is none; the message lists them.
    """
    if name not in PRESETS:
        raise ValueError(
            f"unknown preset {name!r}; allowed are {', '.join(PRESETS)}{did_you_mean(name, PRESETS)}"
        )
    return PRESETS[name]
