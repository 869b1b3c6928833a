"""Loading data: CIFAR by torchvision, folders, archives, errors, test images out of reach."""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from tiny_images import CLASSES, count_decoding, make_archive, make_folder

from lambda_rl.envs.data import load_test, load_train
from lambda_rl.envs.data import sources as data_module
from lambda_rl.envs.data.cache import content_fingerprint


@pytest.fixture
def small(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "small")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def check_small(images: torch.Tensor, labels: torch.Tensor, count: int, blue: int) -> None:
    assert images.dtype == torch.uint8
    assert images.shape == (3 * count, 3, 32, 32)
    assert images.is_contiguous()
    assert labels.tolist() == sorted(list(range(3)) * count)
    assert images[:, 0, 0, 0].tolist() == [label * 50 for label in range(3) for _ in range(count)]
    assert images[:, 1, 5, 7].tolist() == [index * 10 for _ in range(3) for index in range(count)]
    assert (images[:, 2] == blue).all()


# --- folders and archives


def test_folder(small: Path, cache: Path) -> None:
    train, test = (
        load_train(f"folder:{small}", cache_dir=cache),
        load_test(f"folder:{small}", cache_dir=cache),
    )
    check_small(train.images, train.labels, 4, 200)
    check_small(test.images, test.labels, 2, 100)
    assert (train.name, train.num_classes, train.class_names) == ("folder:small", 3, CLASSES)
    assert train.fingerprint == content_fingerprint(train.images, train.labels) != test.fingerprint


@pytest.mark.parametrize("prefix", ["", "./", "one/"])
@pytest.mark.parametrize(("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz")])
def test_archive_holds_the_same_as_the_folder(
    small: Path, cache: Path, prefix: str, suffix: str, mode: str
) -> None:
    archive = make_archive(small, small.parent / f"a{suffix}", prefix, mode)
    before = sorted(small.parent.rglob("*"))
    train = load_train(f"folder:{archive}", cache_dir=cache)
    check_small(train.images, train.labels, 4, 200)
    assert train.fingerprint == load_train(f"folder:{small}", cache_dir=cache).fingerprint
    after = [path for path in sorted(small.parent.rglob("*")) if cache not in (path, *path.parents)]
    assert after == before  # nothing was extracted


def test_folder_with_one_leading_folder(small: Path, cache: Path) -> None:
    train = load_train(f"folder:{small.parent}", cache_dir=cache)
    check_small(train.images, train.labels, 4, 200)


def test_other_sizes_and_modes_become_rgb_32(small: Path, cache: Path) -> None:
    Image.new("L", (48, 64), 77).save(small / "train/cat/00.png")
    Image.new("RGBA", (8, 8), (1, 2, 3, 255)).save(small / "train/cat/01.png")
    train = load_train(f"folder:{small}", cache_dir=cache)
    assert (train.images[0] == 77).all()
    assert train.images[1, :, 3, 4].tolist() == [1, 2, 3]


def test_members_outside_are_ignored_and_never_written(small: Path, cache: Path) -> None:
    archive = small.parent / "evil.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(small, ".")
        evil = tarfile.TarInfo("../evil.png")
        evil.size = 3
        tar.addfile(evil, io.BytesIO(b"abc"))
    assert len(load_train(f"folder:{archive}", cache_dir=cache).labels) == 12
    assert not list(small.parent.parent.rglob("evil.png"))


def test_progress_is_reported(small: Path, cache: Path) -> None:
    calls: list[tuple[int, int]] = []
    load_train(f"folder:{small}", cache_dir=cache, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (12, 12)


# --- the test part is out of reach


@pytest.mark.parametrize("packed", [False, True])
def test_training_data_does_not_depend_on_test_labels(
    small: Path, cache: Path, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = shutil.copytree(small, small.parent / "other")
    (other / "test/cat").rename(other / "test/swap")
    (other / "test/dog").rename(other / "test/cat")
    (other / "test/swap").rename(other / "test/dog")
    paths = [small, other]
    if packed:
        paths = [make_archive(path, path.with_suffix(".tar.gz")) for path in paths]
    decoded = count_decoding(monkeypatch)
    train = [load_train(f"folder:{path}", cache_dir=cache / str(i)) for i, path in enumerate(paths)]
    assert train[0].fingerprint == train[1].fingerprint
    assert torch.equal(train[0].images, train[1].images)
    assert torch.equal(train[0].labels, train[1].labels)
    assert not any(name.startswith("test/") for name in decoded)
    test = [load_test(f"folder:{path}", cache_dir=cache / str(i)) for i, path in enumerate(paths)]
    assert test[0].fingerprint != test[1].fingerprint  # the change was real


def test_loading_train_never_opens_a_test_image(small: Path, cache: Path) -> None:
    for file in (small / "test").rglob("*.png"):
        file.write_bytes(b"broken")
    assert len(load_train(f"folder:{small}", cache_dir=cache).labels) == 12
    with pytest.raises(ValueError, match=r"test/cat/00\.png.*cannot be decoded"):
        load_test(f"folder:{small}", cache_dir=cache)
    shutil.rmtree(small / "test")
    assert len(load_train(f"folder:{small}", cache_dir=cache / "fresh").labels) == 12


def test_synthetic_training_images_are_made_without_test_images(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = data_module.make_synthetic

    def recorded(seed: int, part: str) -> tuple[np.ndarray, np.ndarray]:
        made.append(part)
        return make(seed, part, 40)

    monkeypatch.setattr(data_module, "make_synthetic", recorded)
    train = load_train("synthetic", cache_dir=cache)
    assert (made, train.name, train.num_classes) == (["train"], "synthetic", 10)
    assert load_train("synthetic:0", cache_dir=cache).fingerprint == train.fingerprint
    assert made == ["train"]
    assert load_train("synthetic:7", cache_dir=cache).fingerprint != train.fingerprint
    assert load_test("synthetic", cache_dir=cache).fingerprint != train.fingerprint
    assert made == ["train", "train", "test"]


# --- clear errors


def break_no_train(root: Path) -> None:
    shutil.rmtree(root / "train")


def break_no_test(root: Path) -> None:
    shutil.rmtree(root / "test")


def break_image(root: Path) -> None:
    whole = (root / "train/dog/01.png").read_bytes()
    (root / "train/dog/01.png").write_bytes(whole[:40])


def break_empty_class(root: Path) -> None:
    for file in (root / "train/owl").iterdir():
        file.unlink()


def break_empty_test_class(root: Path) -> None:
    for file in (root / "test/owl").iterdir():
        file.unlink()


def break_foreign_class(root: Path) -> None:
    shutil.copytree(root / "test/owl", root / "test/yak")


def break_one_class(root: Path) -> None:
    for name in ("dog", "owl"):
        shutil.rmtree(root / "train" / name)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    ("damage", "load", "message"),
    [
        (break_no_train, load_train, r"has no train/ folder; expected train/<class>"),
        (break_no_test, load_test, r"has no test/ folder"),
        (break_image, load_train, r"image train/dog/01\.png in .* cannot be decoded"),
        (break_empty_class, load_train, r"class train/owl has no images"),
        (break_empty_test_class, load_test, r"class test/owl has no images"),
        (break_foreign_class, load_test, r"class 'yak' is in test/ but not in train/"),
        (break_one_class, load_train, r"train/ has 1 class folders, at least 2 needed"),
    ],
)
def test_errors_of_a_folder(small: Path, cache: Path, packed: bool, damage, load, message: str) -> None:  # type: ignore[no-untyped-def]
    damage(small)
    path = make_archive(small, small.parent / "a.tar.gz") if packed else small
    with pytest.raises(ValueError, match=message):
        load(f"folder:{path}", cache_dir=cache)
    assert not cache.exists()  # nothing half-done is kept


def test_missing_path_and_files_that_are_no_archive(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        load_train(f"folder:{tmp_path / 'nowhere'}", cache_dir=cache)
    for name, content in (("notes.txt", b"hello"), ("empty.tar", b""), ("cut.tar.gz", b"\x1f\x8b\x08\x00")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is neither a folder nor a"):
            load_train(f"folder:{tmp_path / name}", cache_dir=cache)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz"])
def test_truncated_archive(small: Path, cache: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(256, size=(32, 32, 3), dtype=np.uint8)
    for name in CLASSES:  # a few kilobytes that do not compress
        for index in range(10):
            Image.fromarray(noise).save(small / "train" / name / f"x{index}.png")
    archive = make_archive(small, small.parent / f"a{suffix}", mode="w:gz" if suffix == ".tar.gz" else "w")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"a\.tar.*(damaged|whole)"):
        load_train(f"folder:{archive}", cache_dir=cache)


@pytest.mark.parametrize("spec", ["mnist", "", "folder", "folder:", "cifar10:1", "synthetic:"])
def test_unknown_spec(spec: str, cache: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown data .*allowed: .*synthetic, .*cifar10.*folder:PATH"):
        load_train(spec, cache_dir=cache)


@pytest.mark.parametrize("spec", ["synthetic:x", "synthetic:-1", "synthetic:1.5"])
def test_bad_synthetic_seed(spec: str, cache: Path) -> None:
    with pytest.raises(ValueError, match="seed must be a whole number"):
        load_train(spec, cache_dir=cache)


# --- CIFAR through torchvision


def make_official(
    root: Path, source: type, monkeypatch: pytest.MonkeyPatch, key: str, meta_key: str, classes: int
) -> dict[str, tuple[np.ndarray, list[int]]]:
    """A small archive in the official layout at `root`, torchvision's checksums set to it; its content."""
    rng = np.random.default_rng(0)
    content: dict[str, tuple[np.ndarray, list[int]]] = {}
    lists: dict[str, list[list[str]]] = {}
    root.mkdir(parents=True)
    with tarfile.open(root / source.filename, "w:gz") as archive:  # type: ignore[attr-defined]

        def add(name: str, value: object) -> str:
            data = pickle.dumps(value)
            info = tarfile.TarInfo(f"{source.base_folder}/{name}")  # type: ignore[attr-defined]
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
            return hashlib.md5(data).hexdigest()

        for attribute in ("train_list", "test_list"):
            lists[attribute] = []
            for name, _ in getattr(source, attribute):
                pixels = rng.integers(256, size=(6, 3072), dtype=np.uint8)
                labels = rng.integers(classes, size=6).tolist()
                content[name] = (pixels.reshape(6, 3, 32, 32), labels)
                lists[attribute].append([name, add(name, {"data": pixels, key: labels})])
        meta = dict(source.meta)  # type: ignore[attr-defined]
        meta["md5"] = add(meta["filename"], {meta_key: [f"class {label}" for label in range(classes)]})
    monkeypatch.setattr(source, "train_list", lists["train_list"])
    monkeypatch.setattr(source, "test_list", lists["test_list"])
    monkeypatch.setattr(source, "meta", meta)
    digest = hashlib.md5((root / source.filename).read_bytes()).hexdigest()  # type: ignore[attr-defined]
    monkeypatch.setattr(source, "tgz_md5", digest)
    return content


@pytest.mark.parametrize(
    ("spec", "source", "key", "meta_key", "classes"),
    [
        ("cifar10", torchvision.datasets.CIFAR10, "labels", "label_names", 10),
        ("cifar100", torchvision.datasets.CIFAR100, "fine_labels", "fine_label_names", 100),
    ],
)
def test_cifar_in_the_official_layout(
    spec: str,
    source: type,
    key: str,
    meta_key: str,
    classes: int,
    tmp_path: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    content = make_official(tmp_path / "root", source, monkeypatch, key, meta_key, classes)
    for load, names in ((load_train, source.train_list), (load_test, source.test_list)):  # type: ignore[attr-defined]
        part = load(spec, cache_dir=cache, root=tmp_path / "root")
        assert np.array_equal(part.images.numpy(), np.concatenate([content[name][0] for name, _ in names]))
        assert part.labels.tolist() == [label for name, _ in names for label in content[name][1]]
        assert (part.name, part.num_classes, len(part.class_names)) == (spec, classes, classes)
    shutil.rmtree(tmp_path / "root")  # the cache is enough from now on
    load_train(spec, cache_dir=cache, root=tmp_path / "root")
    assert not (tmp_path / "root").exists()


def test_cifar_without_network_says_what_to_do(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", no_network)
    with pytest.raises(RuntimeError, match=r"no route to host.*cifar-10-python\.tar\.gz.*folder:PATH"):
        load_train("cifar10", cache_dir=cache, root=tmp_path / "root")


# --- the real thing


@pytest.mark.slow
def test_cifar_as_jpeg_archive(cifar_archive: Path) -> None:
    test = load_test(f"folder:{cifar_archive}")
    assert test.images.shape == (10_000, 3, 32, 32)
    assert torch.equal(torch.bincount(test.labels), torch.full((10,), 1_000))
    assert test.class_names[:3] == ("airplane", "automobile", "bird")
    # Means of the channels of CIFAR-10, known to three digits, say that colours and planes are in order.
    mean = test.images.float().mean((0, 2, 3)) / 255
    assert torch.allclose(mean, torch.tensor([0.494, 0.485, 0.450]), atol=0.005)
