"""Options that all commands share: which images, and how inner runs are computed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from lambda_rl.checks import bounded_int, did_you_mean
from lambda_rl.envs.data import ImageData, Images, data_forms, load_parts
from lambda_rl.envs.data.sets import PartName
from lambda_rl.envs.hardware.device import PRECISIONS, available_cores, resolve_device
from lambda_rl.envs.training.placement import TrainerConfig

MOST = 10**9
"""No count that a command takes is higher."""

DeviceName = Annotated[str, tyro.conf.arg(metavar="{auto,cpu,cuda,cuda:N}")]
PrecisionName = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join(PRECISIONS)}}}")]
SuiteName = Annotated[str, tyro.conf.arg(metavar="NAME|FILE")]
DataName = Annotated[str, tyro.conf.arg(help=f"{data_forms()}.")]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which images. Options of a command inherit from this, so that they are plain ones of its own.

    Attributes:
        data: name of a data set.
        data_root: where cifar10 and cifar100 are downloaded to; empty: the user's cache folder.
    """

    data: DataName = "synthetic"
    data_root: str = ""

    def load_train(self) -> ImageData:
        """The training images; errors as in :meth:`load_parts`."""
        return self.load_parts("train")[""]

    def load_test(self) -> ImageData:
        """The test images, for evaluation only; errors as in :meth:`load_parts`."""
        return self.load_parts("test")[""]

    def load_parts(
        self, part: PartName, names: Iterable[str] = (), loaded: Images | None = None
    ) -> dict[str, ImageData]:
        """A part of the data set, and of those that tasks name, by their names; "" stands for ``--data``.

        Args:
            part: train; test for evaluation only.
            names: of further data sets.
            loaded: what is there already, ``--data`` among it.

        Raises:
            ValueError: unknown data, or data that is not as it should be, or cannot be downloaded.
            FileNotFoundError: a path is not there.
        """
        try:
            return load_parts(part, loaded or self.data, names, root=self.data_root or None)
        except RuntimeError as error:  # a failed download is told like any other wrong input
            raise ValueError(str(error)) from error


def check_run_name(name: str) -> None:
    """Refuses a name that no run folder can have; empty stands for one that is still to be made.

    Raises:
        ValueError: it names no folder inside of another, or cannot be shown.
    """
    if Path(name).name != name or name in (".", ".."):
        raise ValueError(f"name must be a plain folder name, got {name!r} (--out says where it lies)")
    if not name.isprintable():  # it is shown in terminals and in commands to be copied
        raise ValueError(f"name must be printable, without line breaks or escapes, got {name!r}")


@dataclass(frozen=True, kw_only=True)
class TrackingOptions:
    """How a run is shown in Weights & Biases. Options of a command inherit from this, as from :class:`DataOptions`.

    Attributes:
        wandb: Weights & Biases; online becomes offline where nobody is logged in. Project and entity: WANDB_PROJECT,
            WANDB_ENTITY.
        wandb_group: of runs that belong together; empty: a training and its comparison have the training's name.
        wandb_tags: words to filter by, beside those that the options say.
        wandb_notes: a sentence about the run.
    """

    wandb: Literal["online", "offline", "disabled"] = "disabled"
    wandb_group: str = ""
    wandb_tags: tuple[str, ...] = ()
    wandb_notes: str = ""


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """Other machines. Options of a command inherit from this, as from :class:`DataOptions`.

    Attributes:
        ray: address of a Ray cluster that does inner runs: HOST:PORT, ray://HOST:PORT, auto, or local for one on this
            machine.
    """

    ray: str = ""

    def check_cores(self, device: str) -> None:
        """Refuses a device that the machines of a cluster are not asked for.

        Raises:
            ValueError: inner runs are to be on a cluster, and on something else than its cores.
        """
        if self.ray and device != "cpu":
            raise ValueError(f"--ray does inner runs on the cores of a cluster; got --device {device}")


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """How inner runs are computed. Options of a command inherit from this, as from :class:`DataOptions`.

    Attributes:
        device: of inner runs.
        precision: of inner runs.
        threads: CPU threads of inner runs; 0: one per core.
        compile: compile the training step; docs/performance.md says when it pays.
    """

    device: DeviceName = "cpu"
    precision: PrecisionName = "auto"
    threads: int = 0
    compile: bool = False

    def check(self) -> None:
        """Checks what can be checked without reading anything; not at construction, where tyro would frame it."""
        bounded_int("--threads", self.threads, 0, 4096)
        if self.precision not in PRECISIONS:
            hint = did_you_mean(self.precision, PRECISIONS)
            raise ValueError(
                f"--precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r}{hint}"
            )

    @property
    def trainer(self) -> TrainerConfig:
        """The same with nothing left open.

        Raises:
            ValueError: the device is unknown or not there.
        """
        device, threads = str(resolve_device(self.device)), self.threads or available_cores()
        return TrainerConfig(device, self.precision, threads, compile=self.compile)
