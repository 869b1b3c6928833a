"""What a decision is made of, bf16 against fp32, and the page that is made of their files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from places import ROOT
from tiny_envs import tiny_data

from lambda_rl.agents.benchmark.opponents import Setting
from lambda_rl.agents.benchmark.page import blocks, publish
from lambda_rl.agents.benchmark.precision import precision_gap
from lambda_rl.agents.benchmark.scaling import SWEEPS, anatomy, draw_scaling
from lambda_rl.agents.options import DataOptions
from lambda_rl.agents.presenting.markdown import block_names, fill
from lambda_rl.envs.tasks.task import Task
from lambda_rl.envs.training.placement import TrainerConfig
from lambda_rl.envs.training.trainer import Trainer

TASK = Task(width=4, batch_size=8, steps=6, decisions=3, train_size=40, val_size=20, initial_lam=0.1)


def test_what_a_decision_is_made_of(tmp_path: Path) -> None:
    """Tiny: every part is there, the parts add up, the figure is drawn and a page is filled."""
    cpu = torch.device("cpu")
    setting = Setting(DataOptions(), tiny_data(2000), outer_size=20, slots=4, device=cpu, tiny=True)
    found = anatomy(TASK, setting, {"fp32": TrainerConfig(precision="fp32", threads=2)})
    for sweep, row in found["scaling"]["fp32"].items():
        assert row["values"] == [SWEEPS[sweep][0]]
        assert row["microseconds"][0] > 0
    profile = found["profile"]["fp32"]
    assert sum(profile["parts"].values()) == pytest.approx(2 * profile["wall"])
    assert profile["parts"]["forward, backward, update"] > 0
    assert 0 < sum(row["share"] for row in found["operators"]["fp32"]) <= 1
    assert draw_scaling(found["scaling"]).axes
    assert Trainer._train.__name__ == "_train"  # nothing is left wrapped
    (tmp_path / "anatomy.json").write_text(json.dumps({"anatomy": {"mlp": found}}))
    page = tmp_path / "page.md"
    marks = [f"<!-- block: {name} -->\n<!-- end: {name} -->\n" for name in ("profile-mlp", "operators-mlp")]
    page.write_text("".join(marks))
    publish(page, tmp_path)
    assert "gathering minibatches" in page.read_text()


def test_precisions_are_compared_seed_by_seed() -> None:
    found = precision_gap(tiny_data(2000), tiny_data(100, seed=1), TASK, 3, TrainerConfig())
    assert len(found["fp32"]) == len(found["bf16"]) == 3
    mean = np.mean(np.array(found["bf16"]) - np.array(found["fp32"]))
    assert found["difference"] == pytest.approx(mean)
    assert found["interval"][0] <= mean <= found["interval"][1]


def test_the_page_says_what_the_files_say() -> None:
    page = ROOT / "docs" / "performance.md"
    text = page.read_text(encoding="utf-8")
    made = blocks(page.parent / "results" / "performance")
    assert set(made) == set(block_names(text))
    assert fill(text, made) == text
