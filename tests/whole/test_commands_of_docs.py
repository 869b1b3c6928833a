"""What pages say to type: options exist, suites are suites, the short blocks of Python run."""

from __future__ import annotations

import contextlib
import functools
import io
import re
import shlex
import warnings
from pathlib import Path

import pytest
from places import DOCS, README
from tiny_schedules import KAPPA_CARD, make_policy

from lambda_rl import LearnedSchedule, save_policy
from lambda_rl.agents.command_line.main import COMMANDS, main
from lambda_rl.envs.tasks.suites import load_suite

PAGES = (README, *sorted(DOCS.glob("*.md")))
SCRIPTS = {
    "train_agent": "train", "compare": "compare", "train_network": "run", "export_policy": "export",
    "train_any_loop": "train-any-loop", "generality": "generality", "reproduce_lu2017": "reproduce",
    "benchmark": "bench", "fit_kappa": "fit-kappa", "ablate_features": "ablate-features", "model_card": "write-card",
}  # fmt: skip


def fenced(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """The commands of ours in a page's blocks, each as its words; the first is the command of lambda-rl."""
    found = []
    for block in fenced(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True) if "$(" not in line else []
            for i, word in enumerate(words[:-1]):
                script = re.fullmatch(r"scripts/(\w+)\.py", words[i + 1])
                if word.endswith("python") and script and script[1] in SCRIPTS:
                    found.append([SCRIPTS[script[1]], *words[i + 2 :]])
            if words and words[0] == "lambda-rl" and words[1] in COMMANDS:
                found.append(words[1:])
    return found


@functools.cache
def helped(command: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main([command, "--help"])
    return out.getvalue()


def test_options_of_commands_exist() -> None:
    told = [(page, words) for page in PAGES for words in commands(page)]
    assert len(told) > 15
    assert len({words[0] for _, words in told}) > 5
    for page, words in told:
        for option in (
            word.partition("=")[0] for word in words if word.startswith("--") and word != "--help"
        ):
            assert re.search(rf"{re.escape(option)}\b", helped(words[0])), f"{page.name}: {words}"


@pytest.mark.parametrize("name", ["train-a-policy", "suites"])
def test_suites_are_suites(name: str, tmp_path: Path) -> None:
    blocks = fenced(DOCS / f"{name}.md", "yaml")
    assert len(blocks) >= 2
    for i, block in enumerate(blocks):
        (tmp_path / f"{i}.yaml").write_text(block, encoding="utf-8")
        assert load_suite(tmp_path / f"{i}.yaml")


def test_the_environments_are_made_as_the_page_says() -> None:
    (making,) = fenced(DOCS / "commands.md", "python")
    names: dict[str, object] = {}
    exec(compile(making, "commands.md", "exec"), names)  # the page is ours
    for key in ("env", "envs"):
        names[key].close()  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore")
def test_a_policy_of_ones_own_is_used_as_the_page_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (using,) = fenced(DOCS / "train-a-policy.md", "python")
    monkeypatch.chdir(tmp_path)
    save_policy("mine.safetensors", make_policy(card=KAPPA_CARD))
    names: dict[str, object] = {}
    exec(compile(using, "train-a-policy.md", "exec"), names)
    assert isinstance(names["schedule"], LearnedSchedule)
