"""Images that live on the device as uint8, and minibatches gathered from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from lambda_rl.envs.data import ImageData
from lambda_rl.envs.networks import Network
from lambda_rl.envs.tasks.task import Task


class Reading(NamedTuple):
    """What a network reads of a pixel: ``scale`` times the sum of the pixel and ``shift``.

    Attributes:
        pixels: see ``Task.pixels``.
        scale: see ``Task.input_scale``.
        shift: see ``Task.input_shift``.
    """

    pixels: str = "standardised"
    scale: float = 1.0
    shift: float = 0.0

    @classmethod
    def of(cls, task: Task) -> Reading:
        """That of a task."""
        return cls(task.pixels, task.input_scale, task.input_shift)


STANDARDISED = Reading()


@dataclass(frozen=True)
class EvaluationSet:
    """Images that are evaluated over and over, normalised once.

    Attributes:
        inputs: ``[V, D]``, as the network reads them.
        labels: int64 ``[V]``.
    """

    inputs: Tensor
    labels: Tensor


class ResidentImages:
    """One set of images on the device, at each resolution that was asked for.

    Args:
        data: images and labels.
        device: where they live.
        statistics: per-channel mean and standard deviation ``[C]`` each to normalise with, in pixel values 0…255;
            those of ``data`` itself if none are given (test images take the training images').
        reference: images that the mean image is taken of; these ones if none are given (test images take the
            training images').
    """

    def __init__(
        self,
        data: ImageData,
        device: torch.device,
        statistics: tuple[Tensor, Tensor] | None = None,
        reference: ResidentImages | None = None,
    ) -> None:
        self.device, self.name = device, data.name
        self.num_classes, self.channels = data.num_classes, data.images.shape[1]
        self.labels_on_cpu, self.labels = data.labels.cpu(), data.labels.to(device)
        self._images = {data.images.shape[-1]: data.images.to(device)}
        self.statistics = statistics or self._measure(data.images)
        self._reference = reference
        self._mean_images: dict[int, Tensor] = {}
        self._rows: dict[tuple[int, object], Tensor] = {}
        self._affine: dict[tuple[int, object, torch.dtype, Reading], tuple[Tensor, Tensor]] = {}

    @staticmethod
    def _measure(images: Tensor) -> tuple[Tensor, Tensor]:
        """Exact mean and deviation from counts of the 256 pixel values."""
        values = torch.arange(256, dtype=torch.float64)
        means, deviations = [], []
        for channel in range(images.shape[1]):
            count = torch.bincount(images[:, channel].flatten().int(), minlength=256).double()
            mean = (count * values).sum() / count.sum()
            means.append(mean)
            deviations.append(((count * (values - mean) ** 2).sum() / count.sum()).sqrt().clamp_min(1.0))
        return torch.stack(means), torch.stack(deviations)

    def __len__(self) -> int:
        """How many images."""
        return self.labels.shape[0]

    def averaged(self, resolution: int) -> int:
        """Side of the blocks of pixels that are averaged to come to that resolution.

        Raises:
            ValueError: it does not divide the images' side.
        """
        side = max(self._images)
        factor, rest = divmod(side, resolution)
        if rest or factor < 1:
            raise ValueError(
                f"resolution={resolution} must divide the side of {self.name}'s images, {side} pixels"
            )
        return factor

    def prepare(self, resolution: int) -> None:
        """Makes the images at that resolution, if they are not there yet; errors as of :meth:`averaged`."""
        if resolution in self._images:
            return
        full, factor = self._images[max(self._images)], self.averaged(resolution)
        small = [F.avg_pool2d(part.float(), factor).round().to(torch.uint8) for part in full.split(4096)]
        self._images[resolution] = torch.cat(small)

    def images(self, resolution: int) -> Tensor:
        """uint8 ``[n, C, resolution, resolution]``; :meth:`prepare` must have made them."""
        return self._images[resolution]

    def mean_image(self, resolution: int) -> Tensor:
        """Mean of each pixel over the reference images, float64 ``[C, resolution, resolution]`` on the CPU."""
        if self._reference is not None:
            return self._reference.mean_image(resolution)
        if resolution not in self._mean_images:
            self.prepare(resolution)
            images = self._images[resolution]
            sums = [part.sum(0, dtype=torch.float64).cpu() for part in images.split(4096)]
            self._mean_images[resolution] = torch.stack(sums).sum(0) / len(images)
        return self._mean_images[resolution]

    def rows(self, network: Network) -> Tensor:
        """All images as the network reads them, uint8 ``[n, D]``; :meth:`prepare` must have been called.

        Four times as large for convolutions over tiles, which overlap; made at the first call.
        """
        images = self._images[network.resolution]
        if network.arrangement is None:
            return network.arranged(images)  # the same memory
        key = (network.resolution, network.arrangement)
        if key not in self._rows:
            self._rows[key] = torch.cat([network.arranged(part) for part in images.split(4096)])
        return self._rows[key]

    def affine(self, network: Network, dtype: torch.dtype, reading: Reading) -> tuple[Tensor, Tensor]:
        """Scale and shift ``[D]`` that bring rows of images to what is read of them; 0 where a row is padded."""
        key = (network.resolution, network.arrangement, dtype, reading)
        if key not in self._affine:
            shape = (self.channels, network.resolution, network.resolution)
            if reading.pixels == "standardised":
                mean, deviation = (s.view(-1, 1, 1).expand(shape) for s in self.statistics)
            else:
                mean = self.mean_image(network.resolution)
                deviation = torch.ones_like(mean)
            self._affine[key] = (
                network.arranged((reading.scale / deviation)[None])[0].to(self.device, dtype),
                network.arranged((reading.scale * (reading.shift - mean / deviation))[None])[0].to(
                    self.device, dtype
                ),
            )
        return self._affine[key]

    def evaluation_set(
        self, index: Tensor, network: Network, dtype: torch.dtype, reading: Reading = STANDARDISED
    ) -> EvaluationSet:
        """The images of ``index`` (int64 ``[V]``), ready to be evaluated."""
        raw = network.arranged(self._images[network.resolution].index_select(0, index))
        inputs = normalised(raw, *self.affine(network, dtype, reading))
        return EvaluationSet(inputs, self.labels.index_select(0, index))

    def evaluation_sets(
        self, index: Tensor, sizes: Sequence[int], network: Network, dtype: torch.dtype, reading: Reading
    ) -> list[EvaluationSet]:
        """:meth:`evaluation_set` of each part of ``index``, on a GPU made together.

        On a CPU one by one: each fits its cache, and memory of that size need not be asked of the system anew.
        """
        if self.device.type == "cpu":
            return [self.evaluation_set(part, network, dtype, reading) for part in index.split(list(sizes))]
        whole = self.evaluation_set(index, network, dtype, reading)
        parts = (values.split(list(sizes)) for values in (whole.inputs, whole.labels))
        return [EvaluationSet(inputs, labels) for inputs, labels in zip(*parts, strict=True)]


def normalised(raw: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """uint8 ``[…, D]`` to ``raw · scale + shift`` in their format, both ``[D]``."""
    return raw.to(scale.dtype).mul_(scale).add_(shift)


def crop_and_flip(raw: Tensor, offset: Tensor, flip: Tensor) -> Tensor:
    """Random crops (after padding with zeros) and horizontal flips.

    Args:
        raw: uint8 ``[n, C, H, H]``.
        offset: int64 ``[n, 2]`` in 0 … 2·(H//8), row and column of the crop in the padded image.
        flip: bool ``[n]``.

    Returns:
        uint8 ``[n, C, H, H]``.
    """
    count, channels, side, _ = raw.shape
    pad = side // 8
    padded = F.pad(raw, (pad, pad, pad, pad))
    span = torch.arange(side, device=raw.device)
    rows = offset[:, :1] + span
    columns = offset[:, 1:] + torch.where(flip[:, None], side - 1 - span, span)
    image = torch.arange(count, device=raw.device)
    channel = torch.arange(channels, device=raw.device)
    return padded[
        image[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None, :]
    ]
