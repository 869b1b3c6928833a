"""What ``lambda-rl gallery`` does: run what is missing, keep it, write the pages."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lambda_rl import load_policy
from lambda_rl.agents.clusters import Spread
from lambda_rl.agents.foreign.contestants import ConstantKappa, Contestant, Learned, short_name, static
from lambda_rl.agents.foreign.loop import figures
from lambda_rl.agents.foreign.rows import Row, current, read_rows, write_rows
from lambda_rl.agents.foreign.runner import keep, one_thread, run
from lambda_rl.agents.foreign.summary import Table
from lambda_rl.agents.foreign.task import ForeignTask
from lambda_rl.agents.gallery.diff import diff_of
from lambda_rl.agents.gallery.entries import ENTRIES, Entry
from lambda_rl.agents.gallery.figure import Lines, figure_of
from lambda_rl.agents.gallery.mnist_script import judged
from lambda_rl.agents.gallery.mnist_script import page as script_page
from lambda_rl.agents.gallery.page import page, results
from lambda_rl.agents.gallery.traces import Key, Point, by_key, key_of, read_traces, trace, write_traces
from lambda_rl.agents.options import ClusterOptions
from lambda_rl.agents.presenting.style import png
from lambda_rl.agents.record.provenance import command_line, provenance
from lambda_rl.checks import bounded_int, did_you_mean
from lambda_rl.files import atomic_write
from lambda_rl.suggest.kappa_law import load_kappa_law

SCRIPT = "mnist-script"
"""The page that has a loop of its own."""

ROWS, TRACES = "rows.csv", "traces.csv"


@dataclass(frozen=True)
class GalleryConfig(ClusterOptions):
    """Writes the gallery: other people's loops with a policy in them, a page each. Runs what is missing, nothing twice.

    Attributes:
        pages: names of pages; none: all.
        policy: name of a shipped policy or a policy file.
        out: folder for the pages and their figures.
        results: folder for rows.csv and traces.csv of this command's own runs.
        rows: rows of lambda-rl generality; what they hold is not run again.
        script: folder for rows.csv of PyTorch's MNIST script.
        law: table whose law of static facts takes part (lambda-rl fit-kappa); empty: the package's.
        seeds: of each loop.
        script_seeds: of each setting of PyTorch's MNIST script.
        trust: whether that script is also run with trust="auto".
        again: run the policy's runs once more (after a change of how it is deployed, which its fingerprint does not
            tell); of the loops, those that rows does not hold.
        processes: of one thread each, side by side; 1: this one.
        data: data set for the loops on images, such as cifar10; empty: these are not run.
        measure: run what is missing; without it, pages are written from what is there.
    """

    pages: tuple[str, ...] = ()
    policy: str = "any-loop"
    out: Path = Path("docs/gallery")
    results: Path = Path("docs/results/gallery")
    rows: Path = Path("docs/results/foreign/rows.csv")
    script: Path = Path("docs/results/mnist-script")
    law: str = "docs/results/any-loop/law.json"
    seeds: int = 5
    script_seeds: int = 10
    trust: bool = True
    again: bool = False
    processes: int = 1
    data: str = ""
    measure: bool = True


def make_gallery(config: GalleryConfig) -> None:
    """Runs and writes.

    Raises:
        ValueError: an option is out of range, or a page is unknown.
        lambda_rl.PolicyFileError: the policy cannot be used.
    """
    for name in ("seeds", "script_seeds"):
        bounded_int(f"--{name.replace('_', '-')}", getattr(config, name), 2, 1000)
    bounded_int("--processes", config.processes, 1, 256)
    allowed = [*(entry.name for entry in ENTRIES), SCRIPT]
    for name in config.pages:
        if name not in allowed:
            hint = did_you_mean(name, allowed)
            raise ValueError(f"unknown page {name!r}; allowed are {', '.join(allowed)}{hint}")
    wanted = config.pages or allowed
    policy = Learned(short_name(config.policy), load_policy(config.policy))
    told = provenance("cpu")
    origin = f"`{command_line()}`, policy `{policy.name}` ({policy.fingerprint}), {told['hardware']}.\n"
    if SCRIPT in wanted:
        _script(config, policy, origin)
    entries = [entry for entry in ENTRIES if entry.name in wanted]
    if entries:
        _loops(config, entries, policy, origin)


def _script(config: GalleryConfig, policy: Learned, origin: str) -> None:
    """PyTorch's MNIST script."""
    path = config.script / ROWS
    users = judged.users(policy.name, policy.policy)
    if not config.trust:
        users = {name: who for name, who in users.items() if not name.endswith(judged.TRUSTING)}
    prints = {name: fingerprint for name, (_, fingerprint) in users.items()}
    known = _current(path, prints, again=config.again and config.measure)
    if config.measure:
        with one_thread():
            judged.measure(path, users, config.script_seeds, known, Spread(config.processes, config.ray))
        write_rows(path, read_rows(path))
    found = judged.paired(read_rows(path), judged.users(policy.name, policy.policy), config.script_seeds)
    atomic_write(config.out / f"{SCRIPT}.md", script_page.page(found, origin))
    print(script_page.verdict(found), end="")


def _loops(config: GalleryConfig, entries: Sequence[Entry], policy: Learned, origin: str) -> None:
    """The pages of foreign loops."""
    tasks = [task for entry in entries for task in entry.loops]
    with one_thread():
        rows = _rows(config, tasks, policy)
        table = Table(rows, tasks, config.seeds)
        traces = _traces(config, tasks, policy, table)
    for entry in entries:
        columns = [
            (task.name, lines) for task in entry.loops if (lines := _lines(task, policy, table, traces))
        ]
        if columns:
            atomic_write(config.out / f"{entry.name}.png", png(figure_of(columns)))
        made = results(entry, table, policy.name, config.seeds)
        text = page(entry, _diff(config, entry), made, figure=bool(columns), origin=origin)
        atomic_write(config.out / f"{entry.name}.md", text)
        print(f"{config.out / entry.name}.md")


def _rows(config: GalleryConfig, tasks: Sequence[ForeignTask], policy: Learned) -> list[Row]:
    """The rows of foreign loops, of this policy and of all who are none."""
    own = config.results / ROWS
    prints = {policy.name: policy.fingerprint}
    others: dict[str, Contestant] = {**static(load_kappa_law(config.law) if config.law else None)}
    known = [
        *current(read_rows(config.rows), prints),
        *_current(own, prints, again=config.again and config.measure),
    ]
    if config.measure:
        run(
            tasks, range(config.seeds), {**others, policy.name: policy}, images=config.data, known=known,
            spread=Spread(config.processes, config.ray), done=functools.partial(keep, own),
        )  # fmt: skip
    added = read_rows(own)
    if added:
        write_rows(own, added)
    return [*current(read_rows(config.rows), prints), *added]


def _traces(
    config: GalleryConfig, tasks: Sequence[ForeignTask], policy: Learned, table: Table
) -> dict[Key, list[Point]]:
    """Runs that are shown; those that are missing are run."""
    path = config.results / TRACES
    known = by_key(read_traces(path))
    if config.again and config.measure:
        known = {key: points for key, points in known.items() if points[0].contestant != policy.name}
    if not config.measure:
        return known
    for task in tasks:
        missing = [one for one in _shown(task, policy, table) if key_of(task, one) not in known]
        if not missing or (task.needs_images and not config.data):
            continue
        data = task.examples(0, config.data)
        for one in missing:
            known[key_of(task, one)] = trace(task, data, one)
        write_traces(path, _kept(known, policy))
        print(f"traced {task.name}", flush=True)
    return known


def _kept(known: Mapping[Key, list[Point]], policy: Learned) -> list[Point]:
    """What goes into the file: of a policy of that name only the newest."""
    prints = {policy.name: policy.fingerprint}
    found = (run for _, run in sorted(known.items()))
    newest = (run for run in found if prints.get(run[0].contestant, run[0].fingerprint) == run[0].fingerprint)
    return list(itertools.chain.from_iterable(newest))


def _shown(task: ForeignTask, policy: Learned, table: Table) -> list[Contestant]:
    """Who is drawn: the policy, what the grid by validation takes with the first seed, and no decay."""
    found: list[Contestant] = [policy]
    if task in table.tasks:
        grid = [table.rows(task, name)[0] for name in table.grid(task)]
        best = max(grid, key=lambda row: (row.val_accuracy, -row.val_loss))
        kappa = float(best.contestant.removeprefix("kappa-"))
        found += [ConstantKappa(kappa)] if kappa else []
    return [*found, ConstantKappa(0.0)]


def _lines(task: ForeignTask, policy: Learned, table: Table, traces: Mapping[Key, list[Point]]) -> Lines:
    """The runs of a loop that are drawn, the policy's first; none if that is missing."""
    shown = _shown(task, policy, table)
    if key_of(task, policy) not in traces:
        return []
    labels = [policy.name, *(["grid by validation"] if len(shown) == 3 else []), "no decay"]
    return [
        (label, traces[key_of(task, one)])
        for label, one in zip(labels, shown, strict=True)
        if key_of(task, one) in traces
    ]


def _diff(config: GalleryConfig, entry: Entry) -> str:
    """The diff of a page's first loop that can be had without data."""
    for task in entry.loops:
        if not task.needs_images or config.data:
            data = task.examples(0, config.data)
            return diff_of(task, figures(task, data))
    raise ValueError(f"page {entry.name} has loops on images only; name them with --data")


def _current(path: Path, prints: Mapping[str, str], *, again: bool) -> list[Row]:
    """Rows of a file without those of contestants of another content, or of policies if they are to run again."""
    rows = read_rows(path)
    kept = [
        row for row in current(rows, prints) if not (again and row.fingerprint and row.contestant in prints)
    ]
    if len(kept) < len(rows):
        write_rows(path, kept)
    return kept
