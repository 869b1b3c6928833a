"""Links within archives: followed where they lead to a member, refused by name where they lead elsewhere."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest
from PIL import Image
from tiny_images import add_bytes, add_link, make_archive, make_folder, png, with_more

from lambda_rl.envs.data import ImageData, load_train
from lambda_rl.envs.data import folder as folder_module
from lambda_rl.envs.data.folder import read_part


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "small")


def load(path: Path) -> ImageData:
    return load_train(f"folder:{path}", cache_dir=path.parent / "cache")


def greys(data: ImageData) -> list[int]:
    return data.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_links_within_an_archive_are_the_images_they_lead_to(small: Path, mode: str) -> None:
    path = with_more(
        small,
        lambda tar: add_link(tar, "train/cat/10.png", "./train/owl/01.png", tarfile.LNKTYPE),
        lambda tar: add_link(tar, "train/cat/11.png", "../dog/02.png"),
        lambda tar: add_link(tar, "train/dog/12.png", "../cat/11.png"),  # a link to a link
        lambda tar: add_link(tar, "train/owl/13.png", "train/cat/11.png", tarfile.LNKTYPE),  # the same
        lambda tar: add_link(tar, "train/owl/14.png", "../../unseen/x.bin"),
        lambda tar: add_bytes(tar, "unseen/x.bin", png(7)),
        mode=mode,
    )
    data = load(path)
    assert data.labels.bincount().tolist() == [6, 5, 6]
    assert greys(data) == [0, 0, 0, 0, 100, 50, 50, 50, 50, 50, 50, 100, 100, 100, 100, 50, 7]


def test_archive_of_a_folder_with_hard_links_holds_all_its_images(small: Path) -> None:
    for part in ("train", "test"):
        os.link(small / "train/dog/03.png", small / part / "cat/same.png")
    path = make_archive(small, small.parent / "a.tar.gz")
    with tarfile.open(path) as tar:
        assert sum(member.islnk() for member in tar) == 2  # so that this tests what it says
    assert load(path).fingerprint == load(small).fingerprint


def test_links_to_folders_are_followed(small: Path) -> None:
    path = with_more(
        small,
        lambda tar: add_link(tar, "train/emu", "../test/owl"),
        lambda tar: add_link(tar, "train/cat/more", "../dog/"),
    )
    data = load(path)
    assert data.class_names == ("cat", "dog", "emu", "owl")
    assert data.labels.bincount().tolist() == [8, 4, 2, 4]


def test_hard_link_is_the_file_that_had_the_name_then(small: Path) -> None:
    path = with_more(
        small,
        lambda tar: add_bytes(tar, "train/cat/00.png", png(33)),
        lambda tar: add_link(tar, "train/cat/10.png", "train/cat/00.png", tarfile.LNKTYPE),
        lambda tar: add_bytes(tar, "train/cat/00.png", png(44)),
    )
    assert greys(load(path))[:5] == [44, 0, 0, 0, 33]


@pytest.mark.parametrize(
    ("target", "kind", "message"),
    [
        ("../../../secret.png", tarfile.SYMTYPE, "outside of the archive"),
        ("/etc/passwd", tarfile.SYMTYPE, "'/etc/passwd', which is outside of the archive"),
        ("../cat/nowhere.png", tarfile.SYMTYPE, "'train/cat/nowhere.png', which the archive does not hold"),
        ("link.png", tarfile.SYMTYPE, "leads on to more than 40 links"),
        ("train/cat/nowhere.png", tarfile.LNKTYPE, "hard link to 'train/cat/nowhere.png', which the archive"),
        ("train/cat", tarfile.LNKTYPE, "is a hard link to 'train/cat', which"),
        ("../secret.png", tarfile.LNKTYPE, "is a hard link to '../secret.png', which"),
    ],
)
def test_link_that_leads_outside_or_nowhere_is_refused_by_name(
    small: Path, target: str, kind: bytes, message: str
) -> None:
    Image.new("RGB", (32, 32)).save(small.parent / "secret.png")
    path = with_more(small, lambda tar: add_link(tar, "train/dog/link.png", target, kind))
    with pytest.raises(ValueError, match=rf"more\.tar: train/dog/link\.png .*{message}"):
        load(path)


def test_broken_links_that_nothing_is_read_from_do_not_matter(small: Path) -> None:
    path = with_more(
        small,
        lambda tar: add_link(tar, "README", "/usr/share/doc"),
        lambda tar: add_link(tar, "train/cat/.#lock", "somebody@somewhere"),
        lambda tar: add_link(tar, "test/cat/gone.png", "nowhere.png"),  # of the other part
    )
    assert len(load(path).labels) == 12


@pytest.mark.parametrize("name", ["train", "train/yak"])
def test_broken_link_in_the_place_of_a_folder_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        if name != "train":
            add_bytes(tar, "train/cat/0.png", png(1))
        add_link(tar, name, "../../elsewhere")
    with pytest.raises(ValueError, match=f": {name} links to what is outside"):
        load(path)


@pytest.mark.parametrize("target", [".", "..", "../../train", "../dog/round"])
def test_links_that_go_in_a_circle_are_refused(small: Path, target: str) -> None:
    path = with_more(
        small,
        lambda tar: add_link(tar, "train/cat/circle", target),
        lambda tar: add_link(tar, "train/dog/round", "../cat"),
    )
    with pytest.raises(ValueError, match="links to a folder that it is in"):
        load(path)


def test_links_that_multiply_without_end_are_refused(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "MAX_LINKED", 1_000)

    def levels(tar: tarfile.TarFile) -> None:
        add_link(tar, "train/cat/a", "../../level0")
        for level in range(40):  # twice as many files at each
            for name in ("a", "b"):
                add_link(tar, f"level{level}/{name}", f"../level{level + 1}")
        add_bytes(tar, "level40/0.png", png(1))

    with pytest.raises(ValueError, match="lead to more than 1,000 files"):
        load(with_more(small, levels))


def test_member_below_a_link_is_refused(small: Path) -> None:
    path = with_more(
        small,
        lambda tar: add_link(tar, "train/emu", "cat"),
        lambda tar: add_bytes(tar, "train/emu/x.png", png(1)),
    )
    with pytest.raises(ValueError, match="train/emu is a link and has members of its own"):
        load(path)


def test_file_that_many_links_lead_to_is_read_once(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"train/cat/x{index}.png" for index in range(20)]
    path = with_more(small, lambda tar: [add_link(tar, name, "00.png") for name in names])
    read: list[str] = []
    extract = tarfile.TarFile.extractfile
    monkeypatch.setattr(
        tarfile.TarFile, "extractfile", lambda self, member: read.append(member.name) or extract(self, member)
    )
    images, _, _ = read_part(path, "train")
    assert len(images) == 32
    assert len(read) == 12
