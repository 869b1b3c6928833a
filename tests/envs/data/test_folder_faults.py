"""Folders on the disk that hold what is no image: pipes, dead links, circles; classes without images."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path

import pytest
from tiny_images import make_archive, make_folder

from lambda_rl.envs.data import ImageData, load_test, load_train


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "small")


def load(path: Path) -> ImageData:
    return load_train(f"folder:{path}", cache_dir=path.parent / "cache")


@pytest.mark.timeout(20)
def test_pipe_is_refused_by_name_and_not_waited_for(small: Path) -> None:
    os.mkfifo(small / "train/cat/x.jpg")
    with pytest.raises(ValueError, match=r"small: train/cat/x\.jpg is no file but a pipe"):
        load(small)


@pytest.mark.timeout(20)
def test_pipe_in_the_place_of_an_archive_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(ValueError, match=r"a\.tar is neither a folder nor"):
        load(tmp_path / "a.tar")


@pytest.mark.parametrize("name", ["cat/x.jpg", "yak", "cat/more"])
def test_dead_link_is_refused_by_name(small: Path, name: str) -> None:
    (small / "train" / name).symlink_to("gone")
    with pytest.raises(ValueError, match=f"small: train/{name} links to 'gone', where nothing is"):
        load(small)


def test_dead_link_that_nothing_is_read_from_does_not_matter(small: Path) -> None:
    (small / "README").symlink_to("gone")
    (small / "train/cat/.#lock.png").symlink_to("somebody@somewhere")
    (small / "test/cat/x.jpg").symlink_to("gone")
    assert len(load(small).labels) == 12


def test_links_to_files_and_folders_are_followed_as_in_an_archive_of_the_same(small: Path) -> None:
    (small / "train/cat/x.png").symlink_to("../owl/03.png")
    (small / "train/dog/more").symlink_to("../../test/cat")
    (small / "train/yak").symlink_to("owl")
    data = load(small)
    assert data.labels.bincount().tolist() == [5, 6, 4, 4]
    archive = make_archive(small, small.parent / "a.tar")
    assert load(archive).fingerprint == data.fingerprint


@pytest.mark.parametrize("target", [".", "..", "../../train"])
def test_links_that_go_in_a_circle_are_refused(small: Path, target: str) -> None:
    (small / "train/cat/circle").symlink_to(target)
    with pytest.raises(ValueError, match="circle links to a folder that it is in"):
        load(small)


@pytest.mark.parametrize("packed", [False, True])
def test_class_without_test_images_is_told_each_time(small: Path, packed: bool) -> None:
    shutil.rmtree(small / "test/dog")
    path = make_archive(small, small.parent / "a.tar") if packed else small
    for _ in range(2):  # decoded, then from the cache
        with pytest.warns(RuntimeWarning, match=r"1 of 3 classes have no test images: 'dog'") as told:
            data = load_test(f"folder:{path}", cache_dir=small.parent / "cache")
        assert told[0].filename == __file__
        assert (data.num_classes, data.labels.bincount().tolist()) == (3, [2, 0, 2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(path)
