"""The cache of decoded images: when it is used, made again, swept, and what it keeps."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from tiny_images import CLASSES, count_decoding, make_archive, make_folder

from lambda_rl.envs.data import load_train
from lambda_rl.envs.data.cache import cache_folder, cached


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "small")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_second_load_comes_from_the_cache(small: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = count_decoding(monkeypatch)
    first = load_train(f"folder:{small}", cache_dir=cache)
    assert len(decoded) == 12
    second = load_train(f"folder:{small}", cache_dir=cache)
    moved = shutil.copytree(small, small.parent / "moved")  # same content elsewhere, other time stamps
    third = load_train(f"folder:{moved}", cache_dir=cache)
    assert len(decoded) == 12
    assert torch.equal(first.images, second.images)
    assert first.fingerprint == second.fingerprint == third.fingerprint
    assert (second.num_classes, second.class_names, third.name) == (3, CLASSES, "folder:moved")


@pytest.mark.parametrize("packed", [False, True])
def test_changed_content_is_decoded_again(small: Path, cache: Path, packed: bool) -> None:
    def spec() -> str:
        return f"folder:{make_archive(small, small.parent / 'a.tar', mode='w') if packed else small}"

    first = load_train(spec(), cache_dir=cache)
    Image.new("RGB", (32, 32), (9, 9, 9)).save(small / "train/dog/02.png")
    second = load_train(spec(), cache_dir=cache)
    assert first.fingerprint != second.fingerprint
    assert (second.images[6] == 9).all()


@pytest.mark.parametrize("damage", ["truncated", "empty", "altered", "not ours"])
def test_damaged_cache_file_is_made_again(
    small: Path, cache: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_train(f"folder:{small}", cache_dir=cache)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    altered = whole[:-1] + bytes([whole[-1] ^ 1])
    file.write_bytes(
        {"truncated": whole[:-100], "empty": b"", "altered": altered, "not ours": b"x" * 300}[damage]
    )
    decoded = count_decoding(monkeypatch)
    for _ in range(2):
        again = load_train(f"folder:{small}", cache_dir=cache)
        assert torch.equal(first.images, again.images)
        assert torch.equal(first.labels, again.labels)
    assert len(decoded) == 12  # once, and not a second time
    assert file.stat().st_size == len(whole)
    assert [path.name for path in cache.iterdir()] == [file.name]  # no temporary file is left


def test_cache_that_cannot_be_written_is_done_without(small: Path) -> None:
    blocked = small.parent / "a file"
    blocked.write_text("in the way")
    assert len(load_train(f"folder:{small}", cache_dir=blocked).labels) == 12


def test_cache_folder_by_argument_variable_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDA_RL_CACHE", str(tmp_path / "by-variable"))
    assert cache_folder(tmp_path / "by-argument") == tmp_path / "by-argument"
    assert cache_folder() == tmp_path / "by-variable"
    monkeypatch.delenv("LAMBDA_RL_CACHE")
    assert "lambda-rl" in str(cache_folder())


# --- what it keeps


def small_part(
    classes: tuple[str, ...] = ("cat", "dog"),
) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    return torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), classes


def never() -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    raise AssertionError("it is in the cache")


@pytest.mark.parametrize("names", [("new\nline", "owl"), ("a", "\n"), ("", "ab"), ("\udcff", "é\t\"'\\")])
def test_class_names_of_any_characters_come_back_from_the_cache(cache: Path, names: tuple[str, ...]) -> None:
    cached(cache, "key", lambda: small_part(names))
    (_, _, found), _ = cached(cache, "key", never)
    assert found == names


def test_class_folder_with_a_newline_or_not_in_utf_8_is_one_class(small: Path, cache: Path) -> None:
    (small / "train/cat").rename(small / "train/ca\nt")
    (small / "train/dog").rename(small / os.fsdecode(b"train/d\xf6g"))
    for _ in range(2):  # decoded, then from the cache
        train = load_train(f"folder:{small}", cache_dir=cache)
        assert (train.num_classes, train.class_names) == (3, ("ca\nt", "d\udcf6g", "owl"))


@pytest.mark.parametrize("change", ["names by line", "no names"])
def test_file_of_another_format_is_made_again(cache: Path, change: str) -> None:
    _, fingerprint = cached(cache, "key", small_part)
    (file,) = cache.iterdir()
    with safe_open(file, "pt") as content:
        metadata = content.metadata()
    if change == "no names":
        del metadata["classes"]
    else:
        metadata["classes"] = "cat\ndog\nbird"
    images, labels, _ = small_part()
    save_file({"images": images, "labels": labels}, file, metadata)
    (_, _, names), again = cached(cache, "key", small_part)
    assert (names, again) == (("cat", "dog"), fingerprint)


def test_mode_of_a_file_is_that_of_the_umask(cache: Path) -> None:
    before = os.umask(0o022)
    try:
        cached(cache, "key", small_part)
    finally:
        os.umask(before)
    (file,) = cache.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


# --- what killed processes left


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def leave(cache: Path) -> Callable[[str, int], Path]:
    """Leaves a half-written file in the cache, as `atomic_path` calls it, of a part and a process."""

    def left(stem: str, pid: int) -> Path:
        cache.mkdir(exist_ok=True)
        path = cache / f".{stem}.{pid}.0123abcd.safetensors"
        path.write_bytes(b"half")
        return path

    return left


def test_writing_removes_what_killed_processes_left(
    cache: Path, dead: int, leave: Callable[[str, int], Path]
) -> None:
    gone = [leave("f" * 32, dead), leave("0" * 32, dead)]
    stays = leave("f" * 32, os.getppid())  # a running process may still be writing it
    foreign = cache / f".notes.{dead}.txt"
    foreign.write_text("not of the cache")
    cached(cache, "key", small_part)
    assert not any(path.exists() for path in gone)
    assert stays.exists()
    assert foreign.exists()


def test_reading_removes_nothing(cache: Path, dead: int, leave: Callable[[str, int], Path]) -> None:
    cached(cache, "key", small_part)
    left = leave("f" * 32, dead)
    cached(cache, "key", never)
    assert left.exists()


def test_process_killed_while_it_writes_leaves_nothing_for_long(cache: Path) -> None:
    kill = (
        "import os, signal, sys, torch\n"
        "from pathlib import Path\n"
        "from lambda_rl.envs.data.cache import cached\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "part = torch.zeros(2, 3, 32, 32, dtype=torch.uint8), torch.tensor([0, 1]), ('a', 'b')\n"
        "cached(Path(sys.argv[1]), 'key', lambda: part)\n"
    )
    assert subprocess.run([sys.executable, "-c", kill, str(cache)]).returncode < 0
    assert len(list(cache.iterdir())) == 1
    cached(cache, "key", small_part)
    (file,) = cache.iterdir()
    assert not file.name.startswith(".")
