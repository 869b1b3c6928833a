"""The picture of a run: shape, content, and that a broken run still gives one."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lambda_rl.envs.render import draw_run

LAMBDA_GREEN = np.array([0x00, 0x9E, 0x73])


def history(n: int, log_lam: float | None = None) -> dict[str, list[float]]:
    progress = [(i + 1) / 15 for i in range(n)]
    return {
        "progress": progress,
        "log_lam": [-3.0 + 2.0 * p if log_lam is None else log_lam for p in progress],
        "train_loss": [2.3 - 2.0 * p for p in progress],
        "val_loss": [2.3 - p for p in progress],
        "train_accuracy": [0.1 + 0.8 * p for p in progress],
        "val_accuracy": [0.1 + 0.4 * p for p in progress],
    }


def rows_of(picture: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Vertical positions of the pixels near a colour."""
    return np.nonzero((np.abs(picture.astype(int) - colour) < 12).all(axis=-1))[0]


@pytest.mark.parametrize("n", [0, 1, 15])
@pytest.mark.parametrize("size", [(640, 480), (333, 257)])
def test_shape_and_type_for_runs_of_any_length(n: int, size: tuple[int, int]) -> None:
    picture = draw_run(history(n), title="a task", size=size)
    assert picture.shape == (size[1], size[0], 3)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert picture.min() < 100  # something is drawn
    assert (picture == 255).mean() > 0.5  # on white


def test_lambda_is_in_the_upper_panel_and_rises_in_the_picture() -> None:
    picture = draw_run(history(15), title="")
    green = np.argwhere((np.abs(picture.astype(int) - LAMBDA_GREEN) < 12).all(axis=-1))
    assert len(green) > 100
    assert green[:, 0].max() < 480 / 2
    left, right = green[green[:, 1].argmin()], green[green[:, 1].argmax()]
    assert left[0] > right[0]  # rows count from the top


def test_a_constant_lambda_is_a_flat_line() -> None:
    rows = rows_of(draw_run(history(15, log_lam=-2.0), title=""), LAMBDA_GREEN)
    assert len(rows) > 100
    assert np.ptp(rows) < 6


def test_same_history_gives_the_same_picture() -> None:
    assert np.array_equal(draw_run(history(7), title="t"), draw_run(history(7), title="t"))
    assert not np.array_equal(draw_run(history(7), title="t"), draw_run(history(8), title="t"))


@pytest.mark.filterwarnings("error")
def test_a_diverged_or_incomplete_run_is_drawn_without_warnings() -> None:
    broken = history(6)
    broken["train_loss"][3:] = [float("inf"), float("nan"), float("nan")]
    broken["log_lam"][5] = float("nan")
    broken["val_loss"] = broken["val_loss"][:2]
    del broken["val_accuracy"]
    assert draw_run(broken, title="diverged").shape == (480, 640, 3)
    all_nan = {key: [float("nan")] * 3 for key in history(0)}
    all_nan["progress"] = [0.1, 0.2, 0.3]
    assert draw_run(all_nan, title="nothing finite").shape == (480, 640, 3)


def test_too_small_a_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="32 x 480"):
        draw_run(history(3), title="", size=(32, 480))


def test_pyplot_is_not_imported() -> None:
    code = (
        "import sys; from lambda_rl.envs.render import draw_run; draw_run({}, title='t');"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
