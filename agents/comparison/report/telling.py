"""What the page says in words: which policy, the verdict, what the words mean, what a reader should know."""

from __future__ import annotations

from dataclasses import dataclass

from lambda_rl.agents.comparison.evidence import ENOUGH_CELLS, Evidence, Standing
from lambda_rl.agents.comparison.figures import MAX_PANELS
from lambda_rl.agents.comparison.results import ORACLE, Summary
from lambda_rl.agents.comparison.words import (
    Verdict,
    counted,
    headline,
    replicates,
    signed,
    spanned,
    verdict,
)


@dataclass(frozen=True)
class Picture:
    """A figure: what it shows, and SVG for a page and for a phone."""

    caption: str
    wide: str
    narrow: str


@dataclass(frozen=True)
class Card:
    """The result of a policy: its name, three numbers, what they are, the verdict and the headline."""

    name: str
    accuracy: str
    difference: str
    interval: str
    runs: str
    instead: str
    verdict: Verdict
    sentence: str


def meta(summary: Summary) -> str:
    """What was run."""
    return (
        f"{cells(summary)}, {counted(summary.inner_runs_done, 'inner run')} on {summary.data.name}, "
        f"{summary.test_images:,} test images; {summary.hardware}, {_duration(summary.seconds)}; {summary.time}"
    )


def cells(summary: Summary) -> str:
    """Tasks × seeds."""
    return f"{counted(len(summary.tasks), 'task')} × {counted(summary.seeds_per_task, 'seed')}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def policies(summary: Summary) -> list[tuple[str, str]]:
    """Name of each policy, and where it comes from."""
    return [
        (
            name,
            f"file {item.file}, fingerprint {item.fingerprint or 'not kept'}, trained on {item.suite} "
            f"({item.data}), commit {item.commit[:12]}",
        )
        for name, item in summary.policies.items()
    ]


def cards(summary: Summary, evidence: Evidence) -> list[Card]:
    """One for each policy, or for policies of one training."""
    return [
        _card(item, sentence, summary, evidence)
        for item, sentence in zip(evidence.learned, headline(summary, evidence), strict=True)
    ]


def _card(item: Standing, sentence: str, summary: Summary, evidence: Evidence) -> Card:
    grid = evidence.standing(ORACLE).inner_runs
    found = verdict(item.against, evidence)
    over = f"95 % interval {replicates(item, summary)}: {spanned(item.against.interval)}"
    few = f"{counted(evidence.cells, 'cell')}: {found.value}"
    return Card(
        item.name,
        f"{item.accuracy:.2f} %",
        signed(item.against.difference),
        few if found is Verdict.TOO_FEW else over,
        counted(item.inner_runs, "run"),
        f"instead of {grid} for a search over the grid of constants",
        found,
        sentence,
    )


def glossary(summary: Summary) -> list[tuple[str, str]]:
    """The words of the page."""
    task = summary.task_fields[summary.tasks[0]]
    noise = float(str(task["label_noise"]))
    network = (
        f"network {task['network']} of width {task['width']}, {int(str(task['train_size'])):,} training images, "
        f"{'none' if noise == 0 else f'{100 * noise:.0f} %'} of them with a wrong label, "
        f"{int(str(task['val_size'])):,} validation images that schedules may watch"
    )
    return [
        ("λ", "the strength of a penalty on the weights: loss = cross-entropy + λ · penalty"),
        ("inner run", "one training of a network from scratch; a task with one of its seeds"),
        (
            "decision",
            f"the choice of λ for the next part of a run: {task['decisions']} in {task['steps']} steps",
        ),
        ("schedule", "all that sets λ over a run: a constant, a formula, or feedback on what is measured"),
        ("policy", "a learned schedule: a small network that looks at the run and moves λ at each decision"),
        ("task", f"all that a run is but λ and the seed; {summary.tasks[0]} is: {network}"),
        (
            "oracle constant",
            "the best constant of each task, picked with the test images after all were run: a bound",
        ),
    ]


def caveats(summary: Summary) -> list[str]:
    """What a reader should know, one line each."""
    sizes = sorted({int(str(fields["val_size"])) for fields in summary.task_fields.values()})
    seen = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    tuning = summary.tuning
    lines = [
        "These are small networks with short budgets, trained from scratch: the numbers compare schedules with each "
        "other, and are no record on the data set.",
        "All schedules of a task and seed share initial weights, training subset, label noise and minibatches.",
        f"Feedback schedules and the grid search watched {seen} validation images, beside the training images.",
        "The oracle constant is chosen with the test images, and so is a bound that no user can reach by rule.",
        "Intervals of differences are Student's t over what replicates: policies that differ in the seed of their "
        "training, else tasks, else seeds; all below is averaged first. Those of the interquartile mean (IQM) and of "
        "P(better) are stratified bootstraps (Agarwal et al. 2021).",
        f"With fewer than {ENOUGH_CELLS} cells (tasks × seeds) nothing is called better or worse.",
    ]
    if tuning is not None:
        counts = ", ".join(f"{name} {number}" for name, number in tuning.settings.items())
        lines.append(
            f"Hand-designed schedules were tuned on {tuning.suite} ({tuning.data}) with other images and seeds; "
            f"settings tried: {counts}."
        )
    lines += [note[0].upper() + note[1:] + "." for note in summary.notes]
    diverged = {name: item.diverged for name, item in summary.schedules.items() if item.diverged}
    if diverged:
        listed = ", ".join(f"{name} {100 * share:.0f} %" for name, share in diverged.items())
        lines.append(f"Runs that diverged count as guessing: {listed}.")
    return lines


def captions(summary: Summary) -> dict[str, str]:
    """Of the page's figures, by their names; of accuracy by task it has a table."""
    tasks, number = len(summary.tasks), cells(summary)
    seeds = counted(summary.seeds_per_task, "seed")
    panels = f" {MAX_PANELS} of {tasks} tasks, spread over the suite." if tasks > MAX_PANELS else ""
    return {
        "accuracy_and_cost": f"Test accuracy (mean over {number}) against the inner runs that one result costs a "
        "user. Bars: 95 % interval of a policy's difference to the best single constant. Grey: the best within that "
        "cost. An open triangle at the lower edge: further down.",
        "differences": "Mean difference in test accuracy to the best single constant with its 95 % interval, and the "
        f"inner runs that one result costs; n = {number}. An open triangle: further left.",
        "lambda_trajectories": "λ over the run, by task: mean over seeds of log λ; thin lines are single seeds of "
        f"policies. The three best hand-designed schedules are beside them.{panels}",
        "profiles": "Performance profile: share of runs that lose at most so many points against the oracle "
        "constant of their task; the higher the better. Band: pointwise 95 % interval of a policy.",
        "accuracy_over_run": "Validation accuracy over the run minus that of the best single constant, mean over "
        f"{number}. The axis is cut below.",
        "constants": f"Test accuracy of constants, mean over {seeds}: how much λ matters, and how far its best value "
        "(dots) moves with the number of training images. The axis is cut below.",
    }
