"""Images that are kept where they are trained on: crops, flips, resolutions, normalisation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_envs import BASE, tiny_data

from lambda_rl.envs.networks import NetworkSpec, make_network
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.resident import ResidentImages, crop_and_flip
from lambda_rl.envs.training.trainer import Trainer

DATA = tiny_data()


def naive_crop(image: np.ndarray, row: int, column: int, flip: bool) -> np.ndarray:
    side = image.shape[-1]
    pad = side // 8
    padded = np.zeros((3, side + 2 * pad, side + 2 * pad), np.uint8)
    padded[:, pad : pad + side, pad : pad + side] = image
    crop = padded[:, row : row + side, column : column + side]
    return crop[:, :, ::-1] if flip else crop


@pytest.mark.parametrize("side", [16, 32])
def test_crop_and_flip_is_the_naive_one(side: int) -> None:
    generator = torch.Generator().manual_seed(1)
    raw = torch.randint(256, (40, 3, side, side), generator=generator).to(torch.uint8)
    offset = torch.randint(side // 4 + 1, (40, 2), generator=generator)
    offset[0], offset[1] = 0, side // 4
    flip = torch.randint(2, (40,), generator=generator).bool()
    made = crop_and_flip(raw, offset, flip)
    for i in range(40):
        row, column = offset[i].tolist()
        assert np.array_equal(made[i].numpy(), naive_crop(raw[i].numpy(), row, column, bool(flip[i])))
    still = crop_and_flip(raw, torch.full_like(offset, side // 8), torch.zeros_like(flip))
    assert torch.equal(still, raw)


def test_augmentation_is_reproducible_and_does_something() -> None:
    task = replace(BASE, network="cnn3", width=2, augment=True)
    norms: dict[str, list[float]] = {}
    for name, seed, augment in (("a", 0, True), ("b", 0, True), ("seed", 1, True), ("none", 0, False)):
        trainer = Trainer(DATA, "agent", TrainerConfig(precision="fp32"))
        run = trainer.start(replace(task, augment=augment))
        if seed:
            run.augmentation.manual_seed(seed)
        norms[name] = [float(trainer.advance([run], [-2.0]).weight_norm[0]) for _ in range(2)]
    assert norms["a"] == norms["b"]
    assert norms["a"] != norms["seed"]
    assert norms["a"] != norms["none"]


def test_images_are_normalised_and_averaged() -> None:
    resident = ResidentImages(DATA, torch.device("cpu"))
    everything = torch.arange(len(resident))
    mlp = make_network(NetworkSpec("mlp", 4, 32))
    x = resident.evaluation_set(everything, mlp, torch.float64).inputs.unflatten(1, (3, 32, 32))
    assert x.mean((0, 2, 3)).abs().max() < 1e-9
    assert (x.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-9
    resident.prepare(16)
    blocks = DATA.images.double().view(-1, 3, 16, 2, 16, 2).mean((3, 5))
    assert (resident.images(16).double() - blocks).abs().max() <= 0.5
    with pytest.raises(ValueError, match="resolution=12 must divide the side of tiny's images, 32 pixels"):
        resident.prepare(12)
