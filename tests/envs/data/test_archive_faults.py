"""Archives that are damaged, cut short or made by someone who means harm."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image
from tiny_images import add_bytes, add_link, make_archive, make_folder, png, with_more

from lambda_rl.envs.data import ImageData, load_train
from lambda_rl.envs.data.archive import MAX_HEADER_BYTES, is_archive, open_archive
from lambda_rl.envs.data.file_tree import MAX_FILE_BYTES


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "small")


def load(path: Path) -> ImageData:
    return load_train(f"folder:{path}", cache_dir=path.parent / "cache")


def add_zeros(tar: tarfile.TarFile, name: str, size: int, kind: bytes = tarfile.REGTYPE) -> None:
    """A member of many zeros, which take no memory here."""

    class Zeros(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
            buffer[:] = bytes(len(buffer))
            return len(buffer)

    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    tar.addfile(info, Zeros())


# --- what does harm


def test_postscript_is_never_handed_to_ghostscript(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run: list[object] = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: run.append(1))
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(id) print\n%%EOF\n"
    (small / "train/cat/00.png").write_bytes(script)
    with pytest.raises(
        ValueError, match=r"image train/cat/00\.png in .*none of JPEG, PNG, BMP, PPM, WEBP, GIF"
    ):
        load(small)
    assert run == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "PPM", "WEBP", "GIF", "TIFF"])
@pytest.mark.parametrize("suffix", [".jpg", ".PNG"])
def test_each_format_is_read_whatever_the_suffix(small: Path, kind: str, suffix: str) -> None:
    Image.new("RGB", (32, 32), (200,) * 3).save(small / f"train/cat/a{suffix}", kind)
    images = load(small).images
    assert len(images) == 13
    assert abs(images[4].float() - 200).max() <= 2


def test_large_member_is_refused_before_it_is_read(small: Path) -> None:
    name = "train/cat/huge.jpg"
    path = with_more(small, lambda tar: add_zeros(tar, name, MAX_FILE_BYTES + 1), mode="w:gz")
    assert path.stat().st_size < 1_000_000
    tracemalloc.start()
    try:
        with pytest.raises(
            ValueError, match=r"file train/cat/huge\.jpg in .* 67,108,865 bytes, at most 67,108,864"
        ):
            load(path)
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


def test_large_file_of_a_folder_is_refused_before_it_is_read(small: Path) -> None:
    with (small / "train/cat/huge.jpg").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(ValueError, match=r"huge\.jpg has 67,108,865 bytes"):
        load(small)


def test_large_header_is_refused_before_it_is_read(small: Path) -> None:
    path = with_more(
        small, lambda tar: add_zeros(tar, "x", MAX_HEADER_BYTES + 1, tarfile.GNUTYPE_LONGNAME), mode="w:gz"
    )
    with pytest.raises(ValueError, match="damaged: a header has 16,777,217 bytes"):
        load(path)


def test_image_of_too_many_pixels_is_refused_before_they_are_decoded(small: Path) -> None:
    data = bytearray(png(1))
    data[16:24] = struct.pack(">II", 10_000, 5_001)  # width and height in the header
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (small / "train/cat/00.png").write_bytes(data)
    with pytest.raises(ValueError, match=r"00\.png in .* 10000×5001 pixels, at most 50,000,000"):
        load(small)


def test_negative_size_does_not_go_round_for_ever(small: Path) -> None:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo("back.png")
        info.size = -1024
        tar.addfile(info)

    path = small.parent / "a.tar"
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(small, ".")
        add(tar)
    with pytest.raises(ValueError, match="damaged"):
        load(path)


def test_pipe_in_an_archive_is_refused_by_name(small: Path) -> None:
    path = with_more(small, lambda tar: add_link(tar, "train/cat/x.jpg", "", tarfile.FIFOTYPE))
    with pytest.raises(ValueError, match=r"train/cat/x\.jpg is no file but a pipe"):
        load(path)


# --- what is damaged

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.fixture
def plain(small: Path) -> bytes:
    """An uncompressed archive, of noise that does not compress."""
    rng = np.random.default_rng(0)
    for file in sorted((small / "train").rglob("*.png")):
        Image.fromarray(rng.integers(256, size=(32, 32, 3), dtype=np.uint8)).save(file)
    return make_archive(small, small.parent / "a.tar", mode="w").read_bytes()


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("lost", [1, 4, 8, 9, 20])
def test_compressed_archive_that_lost_its_last_bytes_is_refused(
    plain: bytes, tmp_path: Path, kind: str, lost: int
) -> None:
    path = tmp_path / f"a.tar.{kind}"
    path.write_bytes(COMPRESS[kind](plain)[:-lost])
    with pytest.raises(ValueError, match=rf"archive .*a\.tar\.{kind} is damaged|\(whole\) tar archive"):
        load(path)


@pytest.mark.parametrize("kind", COMPRESS)
def test_compressed_archive_with_a_wrong_checksum_is_refused(plain: bytes, tmp_path: Path, kind: str) -> None:
    altered = bytearray(plain)
    data = altered.find(b"IDAT") + 100  # Pillow does not always notice
    altered[data] ^= 1
    whole, other = (bytearray(COMPRESS[kind](bytes(content))) for content in (plain, altered))
    path = tmp_path / f"a.tar.{kind}"
    path.write_bytes(whole)
    assert len(load(path).labels) == 12
    if kind == "gz":  # the other's content with this one's checksum: what a flipped bit on the disk comes to
        other[-8:] = whole[-8:]
    else:
        other[len(other) // 2] ^= 1
    path.write_bytes(other)
    with pytest.raises(ValueError, match=rf"archive .*a\.tar\.{kind} is damaged|\(whole\) tar archive"):
        load(path)


def test_broken_header_within_an_archive_is_not_taken_for_its_end(plain: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.tar"
    header = plain.rfind(b"train/cat/01.png")
    path.write_bytes(plain[:header] + b"x" + plain[header + 1 :])
    with pytest.raises(ValueError, match=r"broken\.tar is damaged: it is cut short, or a header is broken"):
        load(path)


@pytest.mark.parametrize("more", [0, 100])
def test_archive_that_ends_between_two_members_is_refused(plain: bytes, tmp_path: Path, more: int) -> None:
    path = tmp_path / "cut.tar"
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        end = tar.getmember("train/cat/01.png").offset + more
    path.write_bytes(plain[:end])
    with pytest.raises(ValueError, match=r"cut\.tar is damaged: it is cut short"):
        load(path)


def test_thousand_headers_in_one_another_are_an_error_that_names_the_archive(tmp_path: Path) -> None:
    path = tmp_path / "deep.tar"
    with tarfile.open(path, "w") as tar:
        add_bytes(tar, "train/cat/0.png", png(1))
        for _ in range(2_000):
            add_zeros(tar, "x", 512, tarfile.GNUTYPE_LONGNAME)
    with pytest.raises(ValueError, match=r"deep\.tar is damaged"):
        load(path)


def test_places_of_an_archive_are_names_without_dots_or_slash_in_front(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("./a/b", "/a/c", "a//d", "a/x/../e"):
            add_bytes(tar, name, b"")
    with open_archive(path) as tree:
        assert [entry.name for entry in tree.entries("a")] == ["b", "c", "d", "e"]
    assert is_archive(path)
