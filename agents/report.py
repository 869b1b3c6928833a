"""``report.html``: one file that opens offline, with the result, the table, the figures and how to run it again."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from lambda_rl.agents.figures import DPI, FIGURES, MAX_PANELS
from lambda_rl.agents.summary import BEST_SINGLE, MEANING
from lambda_rl.files import atomic_write

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color: #222; background: #fff;
       max-width: 62rem; margin: 2.5rem auto 4rem; padding: 0 1.25rem; }
h1 { font-size: 1.7rem; margin-bottom: .2rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; }
.meta, figcaption, .note { color: #555; font-size: .9rem; }
.headline { font-size: 1.12rem; border-left: 4px solid #0072B2; padding: .4rem 0 .4rem 1rem; margin: 1.4rem 0; }
.caveat { background: #FFF8E6; border: 1px solid #EBDCB0; border-radius: 6px; padding: .7rem 1rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid #E4E4E4; white-space: nowrap; }
th { border-bottom: 2px solid #999; font-weight: 600; }
th:first-child, td:first-child, .left { text-align: left; }
td.left { white-space: normal; color: #555; font-size: .82rem; overflow-wrap: anywhere; min-width: 14rem; }
tr.learned td { background: #EAF3FA; font-weight: 600; } tr.learned td.left { font-weight: 400; }
figure { margin: 1.6rem 0; } img { max-width: 100%; height: auto; }
pre { background: #F5F5F5; border-radius: 6px; padding: .7rem 1rem; overflow-x: auto; font-size: .85rem; }
code { font-size: .9em; }
"""


def write_report(folder: str | Path, summary: Mapping[str, Any], sentences: list[str]) -> Path:
    """Writes ``report.html`` out of the summary and the figures in ``folder``.

    Args:
        folder: holds the figures as PNG files.
        summary: content of ``summary.json``.
        sentences: the result in words.

    Returns:
        Path of the report.

    Raises:
        FileNotFoundError: a figure is missing.
    """
    folder = Path(folder)
    figures = []
    for name in FIGURES:
        path = folder / f"{name}.png"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing; draw the figures first")
        figures.append(_figure(path, name, summary))
    path = folder / "report.html"
    atomic_write(path, _page(summary, sentences, figures))
    return path


def _page(summary: Mapping[str, Any], sentences: list[str], figures: list[str]) -> str:
    tasks, seeds = len(summary["tasks"]), summary["seeds_per_task"]
    title = f"λ schedules on {summary['suite']}"
    headline = "".join(f'<p class="headline">{escape(text)}</p>' for text in sentences)
    meta = (
        f"{tasks} tasks × {seeds} seed{'s' if seeds > 1 else ''}, {summary['inner_runs_done']} inner runs on "
        f"{summary['data']['name']}, {summary['test_images']:,} test images; {summary['hardware']}, "
        f"{_duration(summary['seconds'])}; {summary['time']}"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="meta">{escape(meta)}</p>
{headline}
{_caveats(summary)}
<h2>All schedules</h2>
<div class="scroll">{_table(summary)}</div>
<p class="note">Accuracies in percent, differences and regret in points. Difference: to the best single constant
({escape(summary["best_single_constant"])}, chosen on {escape(summary["best_single_constant_chosen_on"])}), with the
95 % interval of a paired bootstrap over tasks × seeds. Regret: against the oracle constant. IQM: interquartile
mean. P(better): probability that a run beats a run of the best single constant on the same task. Runs: inner runs
that a user pays for one result. Tuning runs were spent before, on the training side.</p>
<h2>Figures</h2>
{"".join(figures)}
<h2>Test accuracy by task</h2>
<div class="scroll">{_task_table(summary)}</div>
<h2>How to run it again</h2>
<pre>{escape(summary["command"])}</pre>
<p class="note">Commit {escape(summary["commit"])}; device {escape(summary["device"])};
{escape(", ".join(f"{name} {value}" for name, value in summary["versions"].items()))}. Training images
{escape(summary["data"]["train_fingerprint"][:12])}, test images {escape(summary["data"]["test_fingerprint"][:12])}.
The numbers stand in <code>summary.json</code>, every run in <code>results.csv</code> and every decision in
<code>trajectories.csv</code>, beside this file.</p>
</body>
</html>
"""


def _caveats(summary: Mapping[str, Any]) -> str:
    sizes = sorted({fields["val_size"] for fields in summary["task_fields"].values()})
    seen = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    tuning = summary["tuning"]
    lines = [
        "These are small networks with short budgets, trained from scratch: the numbers compare schedules with each "
        "other, and are no record on the data set.",
        "All schedules of a task and seed share initial weights, training subset, label noise and minibatches.",
        f"Feedback schedules and the grid search watched {seen} validation images, beside the training images.",
        "The oracle constant is chosen with the test images, and so is a bound that no user can reach by rule.",
    ]
    if tuning is not None:
        counts = ", ".join(f"{name} {number}" for name, number in tuning["settings"].items())
        lines.append(
            f"Hand-designed schedules were tuned on {tuning['suite']} ({tuning['data']}) with other images and seeds; "
            f"settings tried: {counts}."
        )
    lines += [note[0].upper() + note[1:] + "." for note in summary["notes"]]
    diverged = {name: item["diverged"] for name, item in summary["schedules"].items() if item["diverged"]}
    if diverged:
        listed = ", ".join(f"{name} {100 * share:.0f} %" for name, share in diverged.items())
        lines.append(f"Runs that diverged count as guessing: {listed}.")
    return '<div class="caveat"><strong>How to read this.</strong><ul>' + "".join(
        f"<li>{escape(line)}</li>" for line in lines
    ) + "</ul></div>"  # fmt: skip


def _table(summary: Mapping[str, Any]) -> str:
    rows = []
    for name, item in summary["schedules"].items():
        low, high = item["ci95"]
        itself = name in (BEST_SINGLE, summary["best_single_constant"])
        difference = "0" if itself else f"{item['difference_mean']:+.2f} [{low:+.2f}, {high:+.2f}]"
        explained = MEANING.get(name, item["spec"])
        cells = [
            f"<td>{escape(name)}</td>",
            f"<td>{item['test_accuracy_mean']:.2f}</td>",
            f"<td>{difference}</td>",
            f"<td>{item['regret_mean']:.2f}</td>",
            f"<td>{item['iqm']:.2f}</td>",
            f"<td>{item['probability_of_improvement']:.2f}</td>",
            f"<td>{item['inner_runs']}</td>",
            f"<td>{item['tuning_runs'] or ''}</td>",
            f'<td class="left">{escape(explained)}</td>',
        ]
        rows.append(f'<tr class="{escape(item["kind"])}">{"".join(cells)}</tr>')
    heads = [
        "schedule",
        "test accuracy",
        "difference [95 %]",
        "regret",
        "IQM",
        "P(better)",
        "runs",
        "tuning runs",
    ]
    head = "".join(f"<th>{text}</th>" for text in heads) + '<th class="left">what it is</th>'
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _task_table(summary: Mapping[str, Any]) -> str:
    names = [
        name
        for name, item in summary["schedules"].items()
        if item["kind"] != "constant" and name not in ("mean-constant", "best-single-constant-hindsight")
    ]
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = []
    for task in summary["tasks"]:
        cells = "".join(f"<td>{summary['schedules'][name]['tasks'][task]:.2f}</td>" for name in names)
        lam = summary["oracle_constants"][task].partition(":")[2]
        rows.append(f"<tr><td>{escape(task)}</td>{cells}<td>{escape(lam)}</td></tr>")
    return (
        f"<table><thead><tr><th>task</th>{head}<th>oracle λ</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _figure(path: Path, name: str, summary: Mapping[str, Any]) -> str:
    tasks, seeds = len(summary["tasks"]), summary["seeds_per_task"]
    n = f"{tasks} tasks × {seeds} seed{'s' if seeds > 1 else ''}"
    captions = {
        "differences": f"Mean difference in test accuracy to the best single constant with its 95 % interval (paired "
        f"bootstrap, n = {n}), and the inner runs that one result costs.",
        "accuracy_by_task": f"The same by task: mean over {seeds} seed{'s' if seeds > 1 else ''}; the bar is the "
        "95 % t interval of the learned schedule over seeds. An open triangle at the left edge: further left.",
        "lambda_trajectories": "λ over the run, by task: mean over seeds of log λ; thin lines are single seeds of the "
        "learned schedule."
        + (f" {MAX_PANELS} of {tasks} tasks, spread over the suite." if tasks > MAX_PANELS else ""),
        "accuracy_over_run": f"Validation accuracy over the run, mean over {n}.",
        "constants": f"Test accuracy of constants, mean over {seeds} seed{'s' if seeds > 1 else ''}: how much λ "
        "matters, and how far its best value moves between tasks.",
    }
    data = base64.b64encode(path.read_bytes()).decode()
    width = int.from_bytes(path.read_bytes()[16:20], "big") * 96 // DPI  # of the PNG's header: its true size
    return (
        f'<figure><img width="{width}" alt="{escape(captions[name])}" src="data:image/png;base64,{data}">'
        f"<figcaption>{escape(captions[name])}</figcaption></figure>\n"
    )


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
