"""Files under faults: a full disk, errors of others, what dead processes left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lambda_rl.files import atomic_path, atomic_write, sweep


def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "latest.pt"
    atomic_write(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # as good as a disk with 100 bytes left
    try:
        with pytest.raises(OSError, match=r"latest\.pt'$") as told:
            atomic_write(path, b"new" * 1000, fsync=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert told.value.filename == str(path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("latest.pt", b"old")]


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="other"), atomic_path(tmp_path / "new"):
        (tmp_path / "other").read_bytes()


def test_temporary_files_of_dead_processes_are_swept(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    dead = process.pid
    ours = [
        f".data.{dead}.0123abcd.bin",
        f".data.{os.getpid()}.0123abcd.bin",
        ".data.99999999999.0123abcd.bin",
    ]
    others = [
        f".data.{os.getppid()}.0123abcd.bin", f".other.{dead}.0123abcd.bin", f".data.{dead}.0123abcd.txt",
        f".data.{dead}.bin", f"data.{dead}.0123abcd.bin", "data.bin",
    ]  # fmt: skip
    for name in ours + others:
        (tmp_path / name).write_bytes(b"")
    sweep(tmp_path / "data.bin")
    assert {path.name for path in tmp_path.iterdir()} == set(others)
    sweep(tmp_path / "nowhere" / "data.bin")
