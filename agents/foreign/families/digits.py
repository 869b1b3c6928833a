"""scikit-learn's digits: 8×8 pixels, ten classes, 600 training images, most of them with wrong labels among them."""

from __future__ import annotations

from functools import partial

from sklearn.datasets import load_digits
from torch import nn
from torch.optim import Adam, AdamW

from lambda_rl.agents.foreign.families.common import cut, mlp
from lambda_rl.agents.foreign.task import Data, ForeignTask


def digits(
    seed: int, *, size: int = 600, noise: float = 0.3, val_noise: float = 0.0, raw: bool = False
) -> Data:
    """Digits of 64 pixels within 0 and 1; ``raw``: as they come, 0 to 16."""
    pixels, labels = load_digits(return_X_y=True)
    return cut(pixels if raw else pixels / 16.0, labels, (size, 300), seed, noise=noise, val_noise=val_noise)


task = partial(ForeignTask, family="digits", data=digits, network=mlp, seconds=0.4)

TASKS = (
    task(name="digits-clean", data=partial(digits, noise=0.0)),
    task(name="digits-few", data=partial(digits, size=100, noise=0.0), epochs=200),
    task(name="digits-noisy-15", data=partial(digits, noise=0.15)),
    task(name="digits-noisy"),
    task(name="digits-noisy-45", data=partial(digits, noise=0.45)),
    task(name="digits-noisy-val", data=partial(digits, val_noise=0.3)),
    task(name="digits-noisy-adamw", optimizer=AdamW, lr=3e-3),
    task(name="digits-noisy-adam", optimizer=Adam, lr=3e-3, calls=20),
    task(name="digits-noisy-small-init", init_scale=0.2),
    task(name="digits-noisy-raw", data=partial(digits, raw=True), lr=0.003),
    task(name="digits-noisy-batchnorm", network=partial(mlp, norm="batch")),
    task(name="digits-noisy-layernorm", network=partial(mlp, norm="layer", activation=nn.GELU), calls=60),
    task(name="digits-noisy-dropout", network=partial(mlp, hidden=(128, 128), dropout=0.3)),
    task(name="digits-noisy-deep", network=partial(mlp, hidden=(64, 64, 64))),
    task(
        name="digits-noisy-four-layers",
        network=partial(mlp, hidden=(48,) * 4, activation=nn.Tanh),
        optimizer=AdamW,
        lr=2e-3,
        warmup=0.1,
    ),
    task(name="digits-noisy-plain-sgd", momentum=0.0, lr=0.1, lr_schedule="constant", epochs=80, calls=20),
)
