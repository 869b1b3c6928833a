"""Synthetic images: reproducible, and made so that λ matters as it does on photographs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lambda_rl.envs.data.synthetic import NUM_CLASSES, make_synthetic


def test_shapes_types_and_balance() -> None:
    images, labels = make_synthetic(0, "train", 1_234)
    assert images.shape == (1_234, 3, 32, 32)
    assert images.dtype == np.uint8
    assert labels.dtype == np.int64
    counts = np.bincount(labels, minlength=NUM_CLASSES)
    assert counts.sum() == 1_234
    assert counts.max() - counts.min() <= 1


def test_pixels_use_the_range_without_clipping_much() -> None:
    images, _ = make_synthetic(0, "train", 500)
    assert np.mean((images == 0) | (images == 255)) < 0.25
    assert 40 < images.std() < 110
    assert abs(images.mean() - 127.5) < 10


def test_same_seed_same_bits_and_other_seed_other_bits() -> None:
    first, labels = make_synthetic(3, "train", 1_100)
    again, labels_again = make_synthetic(3, "train", 1_100)
    other, _ = make_synthetic(4, "train", 1_100)
    assert np.array_equal(first, again)
    assert np.array_equal(labels, labels_again)
    assert not np.array_equal(first, other)


def test_train_and_test_share_classes_but_no_image() -> None:
    train, train_labels = make_synthetic(0, "train", 3_000)
    test, test_labels = make_synthetic(0, "test", 1_000)
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}
    # The nearest class mean of the training images must say something about the test images.
    means = np.stack([train[train_labels == label].mean(0) for label in range(NUM_CLASSES)]).reshape(
        NUM_CLASSES, -1
    )
    flat = test.reshape(len(test), -1).astype(np.float64)
    distance = (means**2).sum(1) - 2 * flat @ means.T
    assert np.mean(distance.argmin(1) == test_labels) > 0.2


@pytest.mark.parametrize(
    ("seed", "part", "message"), [(-1, "train", "at least 0"), (0, "val", "allowed: train, test")]
)
def test_bad_arguments(seed: int, part: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_synthetic(seed, part)


def _accuracy_over_constants(
    data: list[torch.Tensor], lams: torch.Tensor, size: int, label_noise: float, steps: int = 300
) -> torch.Tensor:
    """Test accuracy in points of a 32-unit MLP for each λ; plain SGD, coupled L2, all λ side by side."""
    images, labels, test_images, test_labels = data
    generator = torch.Generator().manual_seed(size)
    chosen = torch.randperm(4_800, generator=generator)[:size]  # as many as inner-train has
    images, labels = images[chosen], labels[chosen].clone()
    wrong = torch.rand(size, generator=generator) < label_noise
    labels[wrong] = torch.randint(NUM_CLASSES, (int(wrong.sum()),), generator=generator)
    n, inputs = len(lams), images.shape[1]
    hidden = torch.randn(inputs, 32, generator=generator) * (2 / inputs) ** 0.5
    output = torch.randn(32, NUM_CLASSES, generator=generator) * (1 / 32) ** 0.5
    weights = [
        hidden.repeat(n, 1, 1),
        torch.zeros(n, 1, 32),
        output.repeat(n, 1, 1),
        torch.zeros(n, 1, NUM_CLASSES),
    ]
    momenta = [torch.zeros_like(weight) for weight in weights]

    def logits(batch: torch.Tensor) -> torch.Tensor:
        hidden = torch.baddbmm(weights[1], batch.expand(n, -1, -1), weights[0]).relu()
        return torch.baddbmm(weights[3], hidden, weights[2])

    for weight in weights:
        weight.requires_grad_()
    for _ in range(steps):
        batch = torch.randint(size, (64,), generator=generator)
        out = logits(images[batch]).flatten(0, 1)
        loss = n * torch.nn.functional.cross_entropy(out, labels[batch].repeat(n))
        gradients = torch.autograd.grad(loss, weights)
        with torch.no_grad():
            for index, (weight, momentum, gradient) in enumerate(
                zip(weights, momenta, gradients, strict=True)
            ):
                penalty = lams[:, None, None] * weight if index % 2 == 0 else 0
                weight -= 0.05 * momentum.mul_(0.9).add_(gradient + penalty)
    with torch.no_grad():
        return 100 * (logits(test_images).argmax(-1) == test_labels).float().mean(1)


def test_lambda_matters_and_its_best_value_moves_with_the_task() -> None:
    """The mean over tasks has an interior maximum; few or noisy images want 10 times the λ of many clean."""
    train, labels = make_synthetic(0, "train", 4_800)
    test, test_labels = make_synthetic(0, "test")
    pooled = [
        torch.nn.functional.avg_pool2d(torch.from_numpy(part).float() / 255, 2) for part in (train, test)
    ]
    mean, std = pooled[0].mean((0, 2, 3), keepdim=True), pooled[0].std((0, 2, 3), keepdim=True)
    train_in, test_in = (((part - mean) / std).flatten(1) for part in pooled)
    data = [train_in, torch.from_numpy(labels), test_in, torch.from_numpy(test_labels)]
    exponents = torch.arange(-5.0, 0.1, 0.5)
    tasks = [(300, 0.0), (300, 0.4), (1_000, 0.2), (4_000, 0.0), (4_000, 0.4)]
    accuracy = {task: _accuracy_over_constants(data, 10**exponents, *task) for task in tasks}

    overall = torch.stack(list(accuracy.values())).mean(0)
    assert overall[1:-1].max() - overall[0] >= 3
    assert overall[1:-1].max() - overall[-1] >= 3
    assert 30 < overall.max() < 65

    def best(task: tuple[int, float]) -> float:
        """Centre of the constants within a point of the best: the argmax alone is noisy."""
        good = accuracy[task] >= accuracy[task].max() - 1
        return float(exponents[good].mean())

    assert min(best((300, 0.4)), best((4_000, 0.4))) - best((4_000, 0.0)) >= 1.0
