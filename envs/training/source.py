"""One data set's share of training images in a trainer: resident, split, and evaluated over and over."""

from __future__ import annotations

import torch
from torch import Tensor

from lambda_rl.envs.data import ImageData
from lambda_rl.envs.data.split import Fold, split_data
from lambda_rl.envs.networks import Network
from lambda_rl.envs.training.resident import EvaluationSet, Reading, ResidentImages


class Source:
    """Where the runs of one data set come from.

    Args:
        data: training images.
        fold: which of them.
        device: where they live.
        outer_size: images of ``outer-val`` that a run is scored on at its decisions, at most.

    Attributes:
        images: all training images, on the device.
        split: the fold's parts.
        outer_size: as given, or as many as there are.
    """

    def __init__(self, data: ImageData, fold: Fold, device: torch.device, outer_size: int) -> None:
        self.fold = fold
        self.split = split_data(len(data.labels), fold)
        self.images = ResidentImages(data, device)
        self.outer_size = min(outer_size, len(self.split.outer_val))
        self._outer_all = self.split.outer_val.to(device)
        # By the images themselves, which are kept so: others may come to have the place, hence the id, of lost ones.
        self._whole: dict[tuple[object, ...], EvaluationSet] = {}

    def outer(self, network: Network, compute: torch.dtype, reading: Reading) -> EvaluationSet:
        """The whole of ``outer-val``, made once for all runs alike; ask before threads do."""
        return self.whole(self.images, self._outer_all, network, compute, reading)

    def whole(
        self, images: ResidentImages, index: Tensor, network: Network, compute: torch.dtype, reading: Reading
    ) -> EvaluationSet:
        """A set of images that all runs share."""
        key = (images, network.resolution, network.arrangement, compute, reading)
        if key not in self._whole:
            self._whole[key] = images.evaluation_set(index, network, compute, reading)
        return self._whole[key]

    def tested(self, test: ImageData) -> ResidentImages:
        """Test images on the device, normalised as the training images are.

        Raises:
            ValueError: they are of other classes.
        """
        if test.num_classes != self.images.num_classes:
            raise ValueError(
                f"test images have {test.num_classes} classes, training images {self.images.num_classes}"
            )
        return ResidentImages(test, self.images.device, self.images.statistics, reference=self.images)
