"""The blocks of docs/use-it-in-your-loop.md run as they stand."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from places import DOCS
from tiny_schedules import KAPPA_CARD, make_policy

import lambda_rl
from lambda_rl import save_policy
from lambda_rl.policy.file import DEFAULT_POLICY

PAGE = DOCS / "use-it-in-your-loop.md"
NEEDS = {"lightning": "import lightning", "transformers": "from transformers", "timm": "from timm"}


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of throw-away policies by the names of shipped ones, so the page depends on no numbers."""
    folder = tmp_path / "policies"
    save_policy(folder / f"{DEFAULT_POLICY}.safetensors", make_policy(card=KAPPA_CARD))
    save_policy(folder / "cifar-mlp.safetensors", make_policy())
    monkeypatch.setattr("lambda_rl.policy.file._shipped_folder", lambda: folder)
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.filterwarnings("ignore")
def test_blocks_run_from_top_to_bottom(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"__name__": "docs"}
    lengths = {}
    with torch.random.fork_rng():
        for i, block in enumerate(blocks()):
            missing = [name for name, sign in NEEDS.items() if sign in block and not _installed(name)]
            if block.startswith("# ddp.py") or missing:
                continue
            exec(compile(block, f"{PAGE.name}, block {i}", "exec"), names)  # the page is ours
            if isinstance(names.get("schedule"), lambda_rl.LearnedSchedule):
                lengths[i] = len(names["schedule"].history)
    assert "lam_meaning='convert'" in capsys.readouterr().out  # the refusal that the page shows
    assert lengths[0] == 21
    assert all(row["lam"] > 0 for row in names["schedule"].history)
    for name, rows in (("lightning", 5), ("trainer", 4)):
        trace = Path(f"{name}.csv")
        assert not trace.exists() or len(trace.read_text().splitlines()) == rows + 1
    if _installed("timm"):
        decays = [group["weight_decay"] for group in names["optimizer"].param_groups]
        assert sorted(decays) == [0.0, names["schedule"].value]
        assert len(names["schedule"].history) == 5


def _installed(name: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            __import__(name)
        except ImportError:
            return False
    return True


def test_two_processes_get_the_same_lambda(shipped: Path, tmp_path: Path) -> None:
    """Must show: the λ trace is the same on both ranks, though their signals differ."""
    (script,) = (block for block in blocks() if block.startswith("# ddp.py"))
    # The processes have no monkeypatch: the policy is named instead.
    named = script.replace(
        "optimizer, total_steps=40",
        f"optimizer, policy={str(shipped / DEFAULT_POLICY)!r} + '.safetensors', total_steps=40",
    )
    assert named != script
    (tmp_path / "ddp.py").write_text(named)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "ddp.py",
    ]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    # Both write to one pipe, so their words may be mixed; each list is one write.
    assert {"rank 0:", "rank 1:"} <= set(re.findall(r"rank \d:", done.stdout))
    first, second = re.findall(r"\[[^\[\]]*\]", done.stdout)
    assert first == second
    assert len(set(ast.literal_eval(first))) > 2


def test_links_within_the_page_lead_somewhere() -> None:
    text = PAGE.read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= headings
