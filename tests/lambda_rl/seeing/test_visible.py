"""What can be seen of a schedule: why λ moved, numbers for trackers, text, files, figures."""

from __future__ import annotations

import copy
import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_schedules import KAPPA_CARD, alone, good, loop, make_policy, optimizer_for, update

from lambda_rl import Constant, GapRule, LearnedSchedule, PullDown, ReplaySchedule
from lambda_rl.seeing import to_csv, to_tensorboard, to_wandb


def held(schedule: LearnedSchedule) -> list[str]:
    return [str(row["held"]) for row in schedule.history]


def kappa_loop(**options: Any) -> LearnedSchedule:
    return alone(policy=make_policy(card=KAPPA_CARD, bias=0.2), decisions=10, **options)


def test_rows_say_what_was_asked_for_and_what_held_it() -> None:
    schedule = alone(policy=make_policy(bias=0.2), decisions=10)
    schedule.step(**good(0))
    assert all(row["asked"] == row["lam"] for row in schedule.history)
    with pytest.warns(RuntimeWarning, match="not finite"):
        schedule.step(**good(1, val_loss=math.nan))
    with pytest.warns(RuntimeWarning, match="fraction"):
        schedule.step(**good(2, val_accuracy=51.0))
    with pytest.warns(RuntimeWarning, match="negative"):
        schedule.step(**good(3, train_loss=-1.0))
    schedule.step(**good(4))
    assert held(schedule) == ["", "", "finite", "fraction", "negative", ""]
    assert [row["asked"] for row in schedule.history[2:5]] == [None] * 3
    assert len({row["lam"] for row in schedule.history[1:5]}) == 1


@pytest.mark.filterwarnings("ignore")
def test_the_end_of_the_range_holds() -> None:
    schedule = alone(policy=make_policy(bias=5.0), decisions=20)
    for i in range(12):
        schedule.step(**good(i, 20))
    assert held(schedule)[0] == ""
    assert held(schedule)[-1] == "upper"
    assert schedule.history[-1]["asked"] > schedule.value  # type: ignore[operator]


@pytest.mark.filterwarnings("ignore")
def test_the_guards_rule_is_named() -> None:
    schedule = kappa_loop(guard=True)
    for i in range(8):  # at chance
        schedule.step(**good(i, train_loss=2.31, val_loss=2.31, train_accuracy=0.1, val_accuracy=0.1))
    assert "underfitting" in held(schedule)
    row = schedule.history[held(schedule).index("underfitting")]
    assert row["asked"] > row["lam"]  # type: ignore[operator]
    assert json.loads(json.dumps(schedule.state_dict()))["history"] == schedule.history


def test_numbers_for_a_tracker() -> None:
    learned = kappa_loop(guard=False)
    learned.step(**good(0))
    row = learned.history[-1]
    assert learned.log_dict() == {
        "lambda/value": learned.value,
        "lambda/kappa": learned.kappa,
        "lambda/progress": 0.1,
        "lambda/asked": row["asked"],
        "lambda/held": 0.0,
    }
    with pytest.warns(RuntimeWarning, match="not finite"):
        learned.step(**good(1, val_loss=math.inf))
    assert learned.log_dict("")["held"] == 1.0
    assert "wd/asked" not in learned.log_dict("wd")
    assert PullDown(0.3, 0.003).log_dict() == {"lambda/value": 0.3, "lambda/progress": 0.0}


def test_the_repr_tells_what_is_in_force() -> None:
    policy = make_policy(card=KAPPA_CARD)
    policy.name = "mine"
    schedule = alone(policy=policy, decisions=10)
    with pytest.warns(RuntimeWarning):
        schedule.step(**good(0, val_loss=math.nan))
    said = repr(schedule)
    assert said.startswith("<LearnedSchedule(mine, 10 decisions): λ ")
    assert said.endswith(", at 10 %, held by finite>")
    assert f"κ {schedule.kappa:.3g}" in said
    assert repr(Constant(0.01)) == "<Constant(lam=0.01): λ 0.01, at 0 %>"
    assert repr(ReplaySchedule([(0.0, 0.1), (0.5, 0.2)])) == "<ReplaySchedule(2 rows): λ 0.1, at 0 %>"
    assert repr(object.__new__(Constant)) == "<Constant: not made>"


def test_verbose_prints_a_line_for_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    schedule = alone(decisions=5, verbose=True)
    schedule.step(**good(0))  # not due
    schedule.step(**good(1))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0] == f"LearnedSchedule: λ {schedule.history[0]['lam']:.3g}, at 0 %"
    assert "at 20 %: train_loss 1.95, val_loss 2.05" in lines[1]
    rule = GapRule()
    rule.verbose = True
    rule.step(train_accuracy=0.9, val_accuracy=0.5)
    assert capsys.readouterr().out == "GapRule: λ 0.02: train_accuracy 0.9, val_accuracy 0.5\n"


class Writer:
    """Keeps what W&B or TensorBoard would be told."""

    def __init__(self) -> None:
        self.rows: list[tuple[dict[str, float], bool]] = []
        self.scalars: list[tuple[str, float, int]] = []

    def log(self, values: dict[str, float], commit: bool = True) -> None:
        self.rows.append((values, commit))

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars.append((name, value, step))


def test_loggers_get_each_row(tmp_path: Path) -> None:
    optimizer, writer = optimizer_for(), Writer()
    schedule = PullDown(0.4, 0.1, "linear", optimizer, total_steps=4)
    schedule.on_decision(to_wandb(writer, "wd"))
    schedule.on_decision(to_tensorboard(writer))
    schedule.on_decision(to_csv(tmp_path / "trace.csv"))
    for _ in range(2):
        update(optimizer)
        schedule.step(val_loss=1.0)
        replay = ReplaySchedule(tmp_path / "trace.csv", total_steps=4)
        assert replay.rows[-1] == (schedule.history[-1]["progress"], schedule.value)
    assert [row["wd/value"] for row, _ in writer.rows] == [row["lam"] for row in schedule.history]
    assert not any(commit for _, commit in writer.rows)  # joins the row of the loop's own metrics
    steps = [(name, step) for name, _, step in writer.scalars if name == "lambda/value"]
    assert steps == [("lambda/value", step) for step in (0, 1, 2)]


def test_an_alert_is_sent_once_for_each_reason() -> None:
    class Run(Writer):
        def __init__(self) -> None:
            super().__init__()
            self.alerts: list[str] = []

        def alert(self, title: str, text: str, level: str) -> None:
            assert text
            self.alerts.append(title)

    loud, quiet = Run(), Run()
    schedule = Constant(0.1)
    listeners = to_wandb(loud), to_wandb(quiet, alerts=False)
    for rule in ("", "rising", "lower", "rising", "finite"):
        schedule.history.append({"progress": None, "lam": 0.1, "held": rule})
        for listener in listeners:
            listener(schedule)
    assert loud.alerts == ["λ is held: rising", "the run diverged"]
    assert quiet.alerts == []
    assert len(loud.rows) == len(quiet.rows) == 5


def test_a_listener_that_fails_does_not_end_the_run() -> None:
    schedule, seen = Constant(0.1), []

    def listener(one: Constant) -> None:
        seen.append(one.value)
        raise OSError("no network")

    with pytest.warns(RuntimeWarning, match="a listener of on_decision failed: OSError: no network"):
        schedule.on_decision(listener)
    schedule.step()
    assert seen == [0.1, 0.1]
    copied = copy.deepcopy(schedule)
    copied.step()
    assert len(seen) == 2
    with pytest.raises(ValueError, match="must be a function of the schedule, got str"):
        schedule.on_decision("wandb")  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore")
def test_a_trace_with_reasons_is_written_and_played_back(tmp_path: Path) -> None:
    schedule = alone(decisions=5)
    for i in range(5):
        schedule.step(**good(i, 5, **({"val_loss": math.nan} if i == 2 else {})))
    schedule.to_csv(tmp_path / "trace.csv")
    with (tmp_path / "trace.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["held"] for row in rows] == held(schedule)
    assert rows[3]["asked"] == ""
    replay = ReplaySchedule(tmp_path / "trace.csv")
    assert [lam for _, lam in replay.rows] == [row["lam"] for row in schedule.history]


@pytest.mark.filterwarnings("ignore")
def test_the_figure_has_what_was_given_and_what_was_held(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    schedule = kappa_loop(guard=True)
    for i in range(8):
        change = {"val_loss": math.nan} if i == 6 else {}
        schedule.step(**good(i, train_loss=2.31, val_accuracy=0.1, epoch=i, **{"val_loss": 2.31, **change}))
    figure = schedule.plot(tmp_path / "run.svg")
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["κ (decay budget)", "loss", "accuracy", "weight_norm", "lr_ratio", "epoch"]
    top, losses = figure.axes[:2]
    (line,) = [line for line in top.lines if line.get_linestyle() == "-"]
    assert list(line.get_ydata())[:-1] == [row["kappa"] for row in schedule.history]
    shown = [text.get_text() for text in top.get_legend().get_texts()]
    assert shown == [f"held: {rule}" for rule in dict.fromkeys(filter(None, held(schedule)))]
    assert "held: finite" in shown
    assert [len(line.get_xdata()) for line in losses.lines] == [8, 8]
    assert (tmp_path / "run.svg").read_text(encoding="utf-8").startswith("<?xml")
    with pytest.raises(ValueError, match=r"(?i)format"):
        schedule.plot(tmp_path / "run.what")
    assert [path.name for path in tmp_path.iterdir()] == ["run.svg"]


def test_the_figure_of_a_start_and_of_calls_without_progress() -> None:
    pytest.importorskip("matplotlib")
    assert [axes.get_ylabel() for axes in PullDown(0.3, 0.003).plot().axes] == ["λ"]
    rule = GapRule()
    rule.step(train_accuracy=0.9, val_accuracy=0.5)
    figure = rule.plot()
    assert (
        figure.axes[-1].get_xlabel() == "share of the run"
        or figure.axes[-1].get_xlabel() == "calls of step()"
    )
    assert Constant(0).plot().axes[0].get_yscale() == "linear"


def test_without_matplotlib_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.delitem(sys.modules, "lambda_rl.seeing.figure", raising=False)
    with pytest.raises(ImportError, match="plot\\(\\) needs matplotlib: pip install matplotlib"):
        Constant(0.1).plot()
    monkeypatch.delitem(sys.modules, "lambda_rl.seeing.figure", raising=False)


def test_an_attached_schedule_with_a_name_of_its_file(tmp_path: Path) -> None:
    from lambda_rl import load_policy, save_policy

    save_policy(tmp_path / "digits" / "policy.safetensors", make_policy())
    save_policy(tmp_path / "mine.safetensors", make_policy())
    assert load_policy(tmp_path / "digits" / "policy.safetensors").name == "digits/policy"
    assert load_policy(tmp_path / "mine.safetensors").name == "mine"
    _, _, schedule = loop()
    assert repr(schedule).startswith(f"<LearnedSchedule({schedule.policy.fingerprint}, 20 decisions): λ ")
