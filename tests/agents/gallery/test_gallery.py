"""The gallery: diffs that run, pages that say what the rows say, and PyTorch's MNIST script."""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from places import DOCS
from torch import nn

from lambda_rl import load_policy
from lambda_rl.agents.foreign.contestants import ConstantKappa
from lambda_rl.agents.foreign.loop import figures
from lambda_rl.agents.foreign.rows import Row, read_rows
from lambda_rl.agents.foreign.suite import selected
from lambda_rl.agents.foreign.summary import Table
from lambda_rl.agents.gallery.command import GalleryConfig, make_gallery
from lambda_rl.agents.gallery.diff import MOST_LINES, diff_of
from lambda_rl.agents.gallery.entries import ENTRIES
from lambda_rl.agents.gallery.mnist_script import judged, script
from lambda_rl.agents.gallery.mnist_script import page as script_page
from lambda_rl.agents.gallery.page import results, verdict
from lambda_rl.agents.gallery.traces import read_traces, trace, write_traces

GALLERY, RESULTS = DOCS / "gallery", DOCS / "results"


def written(name: str) -> tuple[str, str, str]:
    """A page, and the name and fingerprint of the policy that it tells of."""
    page = (GALLERY / f"{name}.md").read_text(encoding="utf-8")
    found = re.search(r"policy `(.+?)` \((.+?)\)", page)
    assert found is not None
    if load_policy(found[1]).fingerprint != found[2]:
        pytest.skip(f"another {found[1]} is shipped by now; lambda-rl gallery writes the page anew")
    return page, found[1], found[2]


def changed(diff: str) -> list[str]:
    return [line for line in diff.splitlines() if line[:1] in "+-" and line.strip("+- ")]


@pytest.mark.parametrize(
    "entry", [e for e in ENTRIES if e.name != "resnet-cifar"], ids=lambda entry: entry.name
)
def test_the_diff_runs_and_is_short(entry: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    task = entry.loops[0]
    data = task.data(0)
    diff = diff_of(task, figures(task, data))
    assert len(changed(diff)) <= MOST_LINES
    model = task.network(data)
    names: dict[str, Any] = {
        "model": model, "parts_of_the_run": [1, 1], "train": lambda *_: (1.0, 0.5), "evaluate": lambda *_: (1.1, 0.4),
    }  # fmt: skip
    after = "\n".join(line[1:] for line in diff.splitlines() if not line.startswith("-"))
    exec(compile(after, entry.name, "exec"), names)  # the page is ours
    schedule = names["schedule"]
    assert schedule.facts.num_train == len(data.train[0])
    assert any(group["weight_decay"] == schedule.value for group in names["optimizer"].param_groups)


def test_the_diff_of_the_script_is_short() -> None:
    assert len(changed(script_page.DIFF)) <= MOST_LINES


SHORT = script.Setting(torch.optim.SGD, 2)


@functools.cache
def played(policy: bool) -> script.Result:
    return script.run(SHORT, 3, script.User(load_policy("any-loop") if policy else None))


def test_the_script_as_it_stands_is_that_of_the_example() -> None:
    """A loop of one's own with the same seed comes to the same."""
    data = script.digits(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = script.Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        rates = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)
        order = torch.Generator().manual_seed(3)
        for _ in range(2):
            for index in torch.randperm(script.TRAIN, generator=order).split(64):
                loss = nn.functional.nll_loss(
                    model(data.train[0][index]).log_softmax(1), data.train[1][index]
                )
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            rates.step()
        model.eval()
        hits = (model(data.test[0]).argmax(1) == data.test[1]).float().mean()
    assert len(data.test[1]) == 540
    assert played(policy=False).test[1] == pytest.approx(float(hits), abs=0.004)
    assert played(policy=False).lr_sum == pytest.approx(16 * 0.05 * 1.7 / 0.1)


def test_with_a_policy_the_schedule_decides_after_each_epoch() -> None:
    found = played(policy=True)
    assert [row["progress"] for row in found.history] == [0.0, 0.5, 1.0]
    assert all(float(row["lam"] or 0) > 0 for row in found.history)
    assert not played(policy=False).history
    assert 0.5 < found.test[1] <= 1.0


def row(setting: str, seed: int, who: str, accuracy: float) -> Row:
    digests = {one.name: judged.digest(one) for one in judged.SETTINGS}
    zeros = dict.fromkeys(
        ("test_loss", "val_accuracy", "val_loss", "train_accuracy", "lr_sum", "seconds"), 0.0
    )
    return Row(
        task=setting, digest=digests[setting], seed=seed, contestant=who, fingerprint="" if who == judged.OWN else who,
        test_accuracy=accuracy, warned=seed == 1, kappas=(1.0, 4.0), **zeros,
    )  # fmt: skip


def test_runs_are_paired_by_seed() -> None:
    own, mine = (90.0, 92.0, 94.0), (91.0, 92.0, 90.0)
    rows = [row("sgd-10", seed, judged.OWN, value) for seed, value in enumerate(own)]
    rows += [row("sgd-10", seed, "p", value) for seed, value in enumerate(mine)]
    rows += [row("sgd-30", seed, "p", 90.0) for seed in range(3)]  # the script as it stands is missing
    (one,) = judged.paired(rows, ["default", "p", "p+trust"], 3)
    assert (one.setting, one.contestant, one.seeds) == ("sgd-10", "p", 3)
    assert (one.own, one.accuracy, one.difference, one.worst) == (92.0, 91.0, -1.0, -4.0)
    assert one.interval[0] == pytest.approx(-1 - 4.303 * np.std([1, 0, -4], ddof=1) / 3**0.5, abs=1e-3)
    assert (one.warned, one.kappa) == (pytest.approx(1 / 3), pytest.approx(2.0))
    assert "**not within**" in script_page.verdict([one])
    better = dataclasses.replace(one, difference=0.2, worst=-1.9)
    assert "**" not in script_page.verdict([better])
    as_is, cosine = script_page.verdict(
        [better, dataclasses.replace(one, setting="sgd-30-cosine")]
    ).splitlines()
    assert as_is.startswith("- `p`: within what")
    assert cosine.startswith("- `p` with a cosine: **not within** what")
    assert not judged.paired(rows, ["p"], 4)


def test_runs_that_are_known_are_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[tuple[str, int]] = []

    def play(work: judged.Work) -> Row:
        setting, seed, name, _, fingerprint = work
        done.append((name, seed))
        return dataclasses.replace(row(setting.name, seed, name, 90.0), fingerprint=fingerprint)

    monkeypatch.setattr(judged, "play", play)
    monkeypatch.setattr(judged, "SETTINGS", judged.SETTINGS[2:3])
    out = {"out": tmp_path / "docs", "results": tmp_path, "script": tmp_path / "script"}
    config = GalleryConfig(pages=("mnist-script",), script_seeds=2, **out)
    make_gallery(config)
    assert len(done) == 6
    make_gallery(dataclasses.replace(config, script_seeds=3))
    assert sorted(done[6:]) == [("any-loop", 2), ("any-loop+trust", 2), ("default", 2)]
    make_gallery(dataclasses.replace(config, script_seeds=3, again=True))
    assert len(done) == 15  # the policy's alone, of all seeds
    capsys.readouterr()
    make_gallery(dataclasses.replace(config, script_seeds=3, measure=False))
    assert len(done) == 15
    assert capsys.readouterr().out == "".join(
        f"- {name}: within what it may cost (-0.3 points on average in each setting, -2 in any run): +0.00 in the "
        "setting where it is worst, +0.00 in the worst run.\n"
        for name in ("`any-loop`", '`any-loop`, `trust="auto"`')
    )
    with pytest.raises(ValueError, match=r"unknown page 'groking'; allowed are .*; did you mean 'grokking'"):
        make_gallery(GalleryConfig(pages=("groking",)))


def test_a_trace_is_a_run_of_the_suite_and_is_kept(tmp_path: Path) -> None:
    task = dataclasses.replace(selected(["digits-noisy"])[0], epochs=2, calls=4)
    data = task.data(0)
    found = trace(task, data, ConstantKappa(2.0))
    assert [point.progress for point in found] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert {round(point.kappa, 9) for point in found} == {2.0}
    assert np.isnan(found[0].val_accuracy)
    assert 0 < found[-1].val_accuracy <= 1
    write_traces(tmp_path / "traces.csv", found)
    again = read_traces(tmp_path / "traces.csv")
    assert [point.progress for point in again] == [point.progress for point in found]
    assert again[-1].val_accuracy == pytest.approx(found[-1].val_accuracy, rel=1e-4)
    assert (again[0].contestant, again[0].fingerprint) == ("kappa-2", "")


def test_a_page_says_where_the_policy_wins_and_loses() -> None:
    entry = next(entry for entry in ENTRIES if entry.name == "noisy-digits")
    rows = read_rows(RESULTS / "foreign" / "rows.csv")
    text = results(entry, Table(rows, entry.loops, 5), "cifar-mlp", 5)
    assert "Not measured" not in text
    assert "**The policy loses** to the best constant in hindsight on " in text
    assert re.search(r"- Against the framework's default: .*below it on digits-clean", text)
    short = results(entry, Table(rows, entry.loops, 5), "nobody", 5)
    assert short.startswith("Not measured: digits-noisy, ")
    assert verdict(np.array([1.0, 1.0, 1.1])).word == "above"
    assert verdict(np.array([-1.0, 1.0, 0.1])).word == "not told apart from"


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_pages_say_what_the_rows_say(entry: Any) -> None:
    page, name, fingerprint = written(entry.name)
    rows = [one for path in ("foreign", "gallery") for one in read_rows(RESULTS / path / "rows.csv")]
    rows = [one for one in rows if one.contestant != name or one.fingerprint == fingerprint]
    made = results(entry, Table(rows, entry.loops, 5), name, 5)
    assert made.strip() in page, "stale: lambda-rl gallery --no-measure writes it anew"
    assert f"({entry.name}.png)" in page
    assert (GALLERY / f"{entry.name}.png").is_file()
    diff = re.search(r"```diff\n(.*?)```", page, re.DOTALL)
    assert diff is not None
    assert 0 < len(changed(diff[1])) <= MOST_LINES


def test_the_page_of_the_script_says_what_the_rows_say() -> None:
    page, name, _ = written("mnist-script")
    users = judged.users(name, load_policy(name))
    seeds = re.search(r"over (\d+) seeds", page)
    if seeds is None:
        pytest.skip("not measured yet: lambda-rl gallery --pages mnist-script")
    pairs = judged.paired(read_rows(RESULTS / "mnist-script" / "rows.csv"), users, int(seeds[1]))
    assert script_page.page(pairs, "").strip() in page, "stale: lambda-rl gallery --no-measure writes it anew"
