"""The options that all commands share: how images are loaded, and how inner runs are computed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tyro

from lambda_rl.agents.comparison.command import CompareConfig
from lambda_rl.agents.options import ComputeOptions, DataOptions
from lambda_rl.agents.ppo.config import TrainConfig
from lambda_rl.agents.reproduction.lu2017.command import ReproduceConfig
from lambda_rl.agents.single_run import NetworkConfig
from lambda_rl.envs.data import DATA_SETS, DataSet, Places, load_train
from lambda_rl.envs.data.cache import Part
from lambda_rl.envs.hardware.device import available_cores

GIVEN = [
    "--data", "synthetic:3", "--data-root", "there", "--device", "cpu", "--precision", "bf16", "--threads", "2",
    "--compile",
]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "more"),
    [
        (CompareConfig, ["--out", "x"]),
        (ReproduceConfig, ["--out", "x"]),
        (TrainConfig, []),
        (NetworkConfig, ["--schedule", "constant:1"]),
    ],
)
def test_every_command_has_them_under_the_same_names(command: type[Any], more: list[str]) -> None:
    config = tyro.cli(command, args=[*GIVEN, *more], config=(tyro.conf.OmitArgPrefixes,))
    images = config.images if command is NetworkConfig else config
    assert (images.data, images.data_root) == ("synthetic:3", "there")
    assert (config.trainer.precision, config.trainer.threads, config.trainer.compile) == ("bf16", 2, True)


def test_no_number_of_threads_is_one_a_core() -> None:
    assert ComputeOptions().trainer.threads == available_cores()


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"threads": -1}, "--threads must be a whole number from 0"),
        ({"precision": "fp8"}, "--precision must be one of auto, fp32, bf16, fp64; got 'fp8'"),
    ],
)
def test_wrong_ones_are_told_by_their_names(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ComputeOptions(**wrong).check()


def test_downloads_go_where_the_user_says_and_a_failed_one_is_told_like_any_other_wrong_input(
    tmp_path: Path,
) -> None:
    asked: list[Path] = []

    class Downloaded(DataSet):
        def make(self, part: str, places: Places) -> Part:
            asked.append(places.downloads)
            raise RuntimeError("the archive fails its checksum")

    with DATA_SETS.temporarily("downloaded", Downloaded):
        options = DataOptions(data="downloaded", data_root=str(tmp_path))
        for load in (options.load_train, options.load_test):
            with pytest.raises(ValueError, match="fails its checksum"):
                load()
        given = load_train("synthetic")
        with pytest.raises(ValueError, match="fails its checksum"):
            options.load_parts("train", ["downloaded"], given)
    assert asked == [tmp_path] * 3


def test_what_is_loaded_already_is_not_loaded_again() -> None:
    given = {"": load_train("synthetic"), "synthetic:1": load_train("synthetic:1")}
    assert DataOptions(data="nowhere").load_parts("train", ["synthetic:1", ""], given) == given
