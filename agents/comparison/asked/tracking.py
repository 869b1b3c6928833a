"""A comparison in Weights & Biases."""

from __future__ import annotations

import dataclasses
import functools
import re
from pathlib import Path

import numpy as np
from rich.console import Console

from lambda_rl.agents.comparison.asked.options import CompareConfig
from lambda_rl.agents.comparison.report import REPORT_NAME
from lambda_rl.agents.comparison.results import CONSTANT, LEARNED
from lambda_rl.agents.comparison.tables import Comparison
from lambda_rl.agents.comparison.terminal import say
from lambda_rl.agents.record.provenance import told_options, without_places
from lambda_rl.agents.record.run_folder import RunFolder


def track(config: CompareConfig, comparison: Comparison, out: Path, console: Console) -> None:
    """Shows the comparison in Weights & Biases: the table, λ over the runs, the figures and the report."""
    from lambda_rl.agents.record.start_tracking import About, start_run

    summary = comparison.summary
    # A policy in the folder of its training: both are in the group of that name.
    trained = [
        path.parent.name for path in map(Path, config.policy) if RunFolder(path.parent).config.is_file()
    ]
    name = re.sub(r"[^\w.-]+", "-", f"compare-{'-'.join([*trained[:1], summary.suite])}")
    about = About(
        group=config.wandb_group or (trained[0] if trained else name),
        job_type="compare",
        tags=(*config.wandb_tags, summary.suite, without_places(config.data)),
        notes=config.wandb_notes,
    )
    options = told_options(dataclasses.asdict(config))
    columns = ("test_accuracy_mean", "difference_mean", "regret_mean", "iqm", "inner_runs", "diverged")
    with start_run(
        config.wandb,
        name=name,
        config=options,
        dir=out,
        about=about,
        say=functools.partial(say, console, soft_wrap=True),
    ) as tracker:
        tracker.use_policies(config.policy)
        rows = [
            [schedule, item.kind, *(getattr(item, key) for key in columns), *item.ci95]
            for schedule, item in summary.schedules.items()
        ]
        heads = ["schedule", "kind", *columns, "ci95_low", "ci95_high"]
        tracker.log_table("compare/schedules", heads, rows, bars=("schedule", "difference_mean"))
        shown = [key for key, item in summary.schedules.items() if item.kind != CONSTANT]
        runs = comparison.trajectories
        first = runs[
            runs["schedule"].isin(shown) & (runs["seed"] == runs.groupby("task")["seed"].transform("min"))
        ]
        rows_of_lam = first.assign(log_lam=np.log10(first["lam"])).to_dict("records")
        tracker.log_lambda_trajectories(rows_of_lam, name="compare")
        for figure in sorted(out.glob("*.png")):
            tracker.log_image(f"compare/{figure.stem}", figure)
        tracker.log_html("compare/report", out / REPORT_NAME)
        tracker.summarise(
            {
                f"{schedule}/{key}": getattr(item, key)
                for schedule, item in summary.schedules.items()
                if item.kind == LEARNED
                for key in columns
            }
        )
