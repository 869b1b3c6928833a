"""The test part is out of reach: of environments, trainers, observations and rewards."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_envs import BASE, DISTRIBUTION, actions, same, tiny_data, trace
from tiny_runs import metrics, same_policy, tiny_config

import lambda_rl.envs.data.sets as data_module
from lambda_rl.agents.ppo.run import train
from lambda_rl.envs.data import ImageData, load_test, load_train
from lambda_rl.envs.env import CifarLambdaEnv
from lambda_rl.envs.judging import ScheduleJob, run_schedules
from lambda_rl.envs.tasks.suites import Suite, TaskList
from lambda_rl.envs.vector_env import CifarLambdaVectorEnv
from lambda_rl.schedules.open_loop import Constant

CLASSES, TRAIN_EACH, TEST_EACH = 4, 60, 13  # 52 of them: no other length of what an environment holds
SMALL = replace(BASE, train_size=40, val_size=6)
SUITE = Suite("small", "agent", TaskList((SMALL, replace(SMALL, label_noise=0.4))))


def write_folder(root: Path, rotate_test: int = 0) -> Path:
    """Images in ImageFolder layout; ``rotate_test`` moves the test images to other classes' folders."""
    for part, each in (("train", TRAIN_EACH), ("test", TEST_EACH)):
        for label in range(CLASSES):
            turned = (label + rotate_test) % CLASSES if part == "test" else label
            folder = root / part / f"class{turned}"
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(each):
                rng = np.random.default_rng([label, i, part == "test"])
                pixels = rng.integers(0, 160, (32, 32, 3)) + 20 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{label}-{i}.png")
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two data sets that differ in the labels of their test images alone, in folders of the same name."""
    base = tmp_path_factory.mktemp("leakage")
    return write_folder(base / "a" / "data"), write_folder(base / "b" / "data", rotate_test=1)


def test_shuffled_test_labels_change_nothing_that_is_learned_from(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    loaded = []
    for i, folder in enumerate(folders):
        cache = tmp_path / f"cache{i}"
        loaded.append(
            (load_train(f"folder:{folder}", cache_dir=cache), load_test(f"folder:{folder}", cache_dir=cache))
        )
    (train, test), (train2, test2) = loaded
    assert not torch.equal(test.labels, test2.labels) or not torch.equal(test.images, test2.images)
    assert test.fingerprint != test2.fingerprint
    assert torch.equal(train.images, train2.images)
    assert torch.equal(train.labels, train2.labels)
    assert train.fingerprint == train2.fingerprint

    moves = actions(9, 3)
    traces = [trace(CifarLambdaVectorEnv(3, suite=SUITE, data=data), moves) for data in (train, train2)]
    assert same(*traces)

    # The comparison does see them: in its result alone, not in what a schedule is told.
    jobs = [ScheduleJob(SMALL, "c", lambda **options: Constant(0.01, total_steps=options["total_steps"]))]
    results = [run_schedules(jobs, a, "held-out", test=b)[0] for a, b in loaded]
    assert results[0].test_loss != results[1].test_loss
    assert results[0].history == results[1].history
    assert results[0].val_loss == results[1].val_loss


def test_an_environment_reads_no_test_image(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made from a folder whose test images cannot be decoded, with a loader of test images that may not be called."""
    root = write_folder(tmp_path / "data")
    for path in (root / "test").rglob("*.png"):
        path.write_bytes(b"not an image")

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the environment has asked for test images")

    monkeypatch.setattr(data_module, "load_test", refuse)
    broken = CifarLambdaVectorEnv(2, suite=SUITE, data=f"folder:{root}")
    sound = CifarLambdaVectorEnv(2, suite=SUITE, data=f"folder:{folders[0]}")
    moves = actions(5, 2)
    assert same(trace(broken, moves), trace(sound, moves))
    with pytest.raises(ValueError, match="test"):
        load_test(f"folder:{root}")


def reachable(root: object) -> Iterator[object]:
    """Every object that can be reached from ``root`` but through modules, classes and globals."""
    seen: set[int] = set()
    queue: list[object] = [root]
    while queue:
        item = queue.pop()
        if id(item) in seen or isinstance(item, type) or type(item).__name__ in ("module", "function"):
            continue
        seen.add(id(item))
        yield item
        queue += gc.get_referents(item)
        if isinstance(item, torch.Tensor) and item._base is not None:
            queue.append(item._base)


def tensor_lengths(root: object) -> set[int]:
    return {
        n for item in reachable(root) if isinstance(item, (torch.Tensor, np.ndarray)) for n in item.shape[:1]
    }


@pytest.mark.parametrize("kind", ["single", "vector"])
def test_no_environment_holds_the_test_images(kind: str, folders: tuple[Path, Path]) -> None:
    spec = f"folder:{folders[0]}"
    num_train, num_test = CLASSES * TRAIN_EACH, CLASSES * TEST_EACH
    single = CifarLambdaEnv(SUITE, spec)
    env: Any = single if kind == "single" else CifarLambdaVectorEnv(2, suite=SUITE, data=spec)
    env.reset(seed=0)
    for move in actions(3, 2 if kind == "vector" else 1):
        env.step(move if kind == "vector" else move[0])
    lengths = tensor_lengths(env)
    assert num_train in lengths  # the walk finds what is there
    assert num_test not in lengths
    env.trainer_with_test_images = load_test(spec)
    assert num_test in tensor_lengths(env)


def test_pixels_of_another_fold_matter_only_to_the_normalisation() -> None:
    """Labels of the held-out fold reach nothing of a run on the agent's fold."""
    from lambda_rl.envs.data.split import split_data

    data = tiny_data()
    held_out = split_data(len(data.labels), "held-out")
    other = data.labels.clone()
    for part in (held_out.inner_train, held_out.inner_val, held_out.outer_val):
        other[part] = (other[part] + 1) % 10
    changed: ImageData = replace(data, labels=other)
    moves = actions(6, 2)
    traces = [trace(CifarLambdaVectorEnv(2, suite=DISTRIBUTION, data=d), moves) for d in (data, changed)]
    assert same(*traces)


def test_shuffled_test_labels_change_no_policy(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Training an agent, its curve and the checkpoint that validation chooses: the same to the last bit."""
    suite = "defaults: {width: 4, train_size: 40, val_size: 8, batch_size: 8, steps: 6, decisions: 3}\n"
    suite += "tasks:\n  - {learning_rate: 0.05}\n  - {learning_rate: 0.2, label_noise: 0.4}\n"
    (tmp_path / "suite.yaml").write_text(suite)
    runs = []
    for i, folder in enumerate(folders):
        config = tiny_config(tmp_path, f"run{i}", data=f"folder:{folder}", suite=str(tmp_path / "suite.yaml"))
        runs.append(train(config, show_progress=False))
    assert same_policy(*runs)
    assert metrics(runs[0]) == metrics(runs[1])
    assert any(row["validation/score"] for row in metrics(runs[0]))
