"""What ``scripts/reproduce_lu2017.py`` does: run what is missing, judge, draw, write, make the page."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from lambda_rl.agents.options import ComputeOptions, DataName, DataOptions
from lambda_rl.agents.presenting.progress import Bar
from lambda_rl.agents.record.provenance import provenance
from lambda_rl.agents.reproduction.lu2017.added import Published, add, cells_to_add
from lambda_rl.agents.reproduction.lu2017.drawing.figures import draw_figures
from lambda_rl.agents.reproduction.lu2017.drawing.page import publish, publish_added
from lambda_rl.agents.reproduction.lu2017.experiments import (
    FIGURES,
    LEARNED,
    Cell,
    Policies,
    figure_cells,
    merge,
)
from lambda_rl.agents.reproduction.lu2017.running import pending, run_cells
from lambda_rl.agents.reproduction.lu2017.settings import BUDGETS, Budget
from lambda_rl.agents.reproduction.lu2017.store import SCALARS, Store, plain
from lambda_rl.agents.reproduction.lu2017.summary import summarise
from lambda_rl.envs.data import ImageData
from lambda_rl.files import atomic_write
from lambda_rl.policy.file import load_policy


@dataclass(frozen=True)
class ReproduceConfig(ComputeOptions, DataOptions):
    """Reproduces the experiments of Lu (2017), figure by figure. Goes on where a killed one was.

    Attributes:
        out: folder for cells/, results.csv, summary.json and the figures.
        figure: which one; 8 draws 5 to 7 too, which need no runs.
        budget: smoke (does it all run), standard (2 CPU cores) or full (a GPU).
        policy: a shipped policy's name or a policy file for the learned curves; empty: the default shipped one;
            none: no learned curves.
        policy_nonconvex: a policy file trained with the L½ penalty, for Figure 8; empty: that figure has no learned
            curve. May be added later.
        page: a page with marked blocks (docs/lu2017.md) to fill; figures and tables are copied beside it.
        published: folder of results.csv and summary.json of an earlier reproduction, such as docs/results/lu2017, whose
            run folder is gone: the learned runs of Figure 8 alone are done, and written there beside its rows.
        redraw: judge, draw and fill the page from the files in --out, without a run.
    """

    out: str
    figure: Literal["1", "2", "3", "4", "8", "all"] = "all"
    budget: Literal["smoke", "standard", "full"] = "standard"
    data: DataName = field(default="cifar10", kw_only=True)
    policy: str = ""
    policy_nonconvex: Annotated[str, tyro.conf.arg(name="policy-l0.5")] = ""
    page: str = ""
    published: str = ""
    redraw: bool = False

    def check(self) -> None:
        """See :meth:`ComputeOptions.check`."""
        super().check()
        if self.page and not Path(self.page).is_file():
            raise ValueError(f"--page {self.page}: no such file; the blocks to fill must be there")
        if self.published and (self.figure != "8" or not self.policy_nonconvex):
            raise ValueError(
                "--published adds learned runs to Figure 8: it needs --figure 8 and --policy-l0.5"
            )
        if self.policy_nonconvex and load_policy(self.policy_nonconvex).card.penalty not in ("l0.5", "any"):
            raise ValueError(
                f"--policy-l0.5 {self.policy_nonconvex}: was trained with the penalty "
                f"{load_policy(self.policy_nonconvex).card.penalty}"
            )

    @property
    def policies(self) -> Policies:
        """Specs of the learned schedules."""
        l2 = {"": "learned", "none": ""}.get(self.policy, f"learned:{self.policy}")
        return Policies(l2, f"learned:{self.policy_nonconvex}" if self.policy_nonconvex else "")


def run_reproduction(
    config: ReproduceConfig, console: Console | None = None, budget: Budget | None = None
) -> dict[str, Any]:
    """Runs what is missing, then judges, draws and writes what is complete.

    Args:
        config: all options.
        console: where to print.
        budget: sizes, in place of those that ``config.budget`` names.

    Returns:
        The content of ``summary.json``.

    Raises:
        ValueError: an option or data that cannot be used, or a folder with results of other settings.
        FileNotFoundError: a file that is not there.
    """
    console = console or Console()
    config.check()
    budget = budget or BUDGETS[config.budget]
    store = Store(config.out)
    wanted = FIGURES if config.figure == "all" else (config.figure,)
    if config.redraw:
        saved = store.settings()
        if saved["budget"] != plain(asdict(budget)):
            raise ValueError(f"{config.out} was run with --budget {saved['budget_name']}; give the same")
    else:
        train, test = config.load_train(), config.load_test()
        if config.published:
            return _add(config, budget, (train, test), store, console)
        store.open(_settings(config, budget, train, test))
        cells = merge([cell for name in wanted for cell in figure_cells(name, budget, config.policies)])
        _run(config, cells, budget, train, test, store, console)
    return _finish(config, budget, store, console)


def _add(
    config: ReproduceConfig,
    budget: Budget,
    images: tuple[ImageData, ImageData],
    store: Store,
    console: Console,
) -> dict[str, Any]:
    """See ``published``."""
    settings = plain(_settings(config, budget, *images))
    published = Published.read(config.published, settings)
    store.open(settings)
    cells = cells_to_add(budget, config.policies.nonconvex)
    _run(config, cells, budget, *images, store, console)
    summary = add(published, store, cells, budget)
    if config.page:
        publish_added(Path(config.page), summary)
    console.print(f"added {summary['added']['runs']} learned runs to {config.published}", highlight=False)
    return summary


def _settings(config: ReproduceConfig, budget: Budget, train: ImageData, test: ImageData) -> dict[str, Any]:
    """All that the results depend on. Not among it: the number of threads, and where things lie."""
    policies = config.policies
    return {
        "budget_name": config.budget,
        "budget": asdict(budget),
        "train_fingerprint": train.fingerprint,
        "test_fingerprint": test.fingerprint,
        "policy": load_policy(config.policy or None).fingerprint if policies.l2 else "",
        "policy_l0.5": load_policy(config.policy_nonconvex).fingerprint if policies.nonconvex else "",
        "device": config.trainer.device.partition(":")[0],
        "precision": config.precision,
        **({"compile": True} if config.compile else {}),  # older folders do not tell
    }


def _run(
    config: ReproduceConfig,
    cells: list[Cell],
    budget: Budget,
    train: ImageData,
    test: ImageData,
    store: Store,
    console: Console,
) -> None:
    total = sum(len(cell.plans) for cell in cells) * budget.seeds
    left = len(pending(cells, budget.seeds, store))
    console.print(f"{total} runs in {len(cells)} cells, {total - left} of them done before", highlight=False)
    if not left:
        return
    started = time.monotonic()
    try:
        with Bar("training", console, unit="", period=600, lines="tenths") as bar:
            run_cells(
                cells, budget.seeds, train, test, store, config=config.trainer,
                progress=lambda spent, cost, done, count: bar(spent, cost, f"{done} of {count} runs"),
            )  # fmt: skip
    except KeyboardInterrupt:
        kept = total - len(pending(cells, budget.seeds, store))
        console.print(f"{kept} of {total} runs are kept; the same command goes on", highlight=False)
        raise
    finally:
        store.worked({**provenance(config.device), "data": train.name}, time.monotonic() - started)


def _finish(config: ReproduceConfig, budget: Budget, store: Store, console: Console) -> dict[str, Any]:
    """Everything out of the files alone; figures that lack runs are left out."""
    saved = store.settings()
    policies = Policies(*(LEARNED if saved[key] else "" for key in ("policy", "policy_l0.5")))
    parts = {name: figure_cells(name, budget, policies) for name in FIGURES}
    done = [name for name, cells in parts.items() if all(store.complete(c, budget.seeds) for c in cells)]
    if not done:
        raise ValueError(f"{config.out}: no figure is complete; run it without --redraw")
    cells = merge([cell for name in done for cell in parts[name]])
    runs = store.table(cells, budget.seeds)
    summary = summarise(runs, budget, done, saved, store.origin())
    out = Path(config.out)
    atomic_write(out / "results.csv", runs[list(SCALARS)].to_csv(index=False))
    atomic_write(
        out / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )
    written = draw_figures(runs, budget, done, out)
    console.print(verdict_table(summary))
    console.print(f"wrote results.csv, summary.json and {len(written)} figures to {out}", highlight=False)
    if config.page:
        publish(Path(config.page), summary, out)
        console.print(f"filled {config.page}", highlight=False)
    return summary


def verdict_table(summary: dict[str, Any]) -> Table:
    """Claims and verdicts for the terminal."""
    table = Table(title="What held up", box=box.SIMPLE_HEAD)
    table.add_column("claim", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("the effect [95 %]", justify="right", no_wrap=True)
    table.add_column("in words")
    for item in summary["claims"]:
        mean, low, high = item["parts"][0]["estimate"]
        effect = "–" if low is None else f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"
        table.add_row(item["key"], item["verdict"], effect, item["claim"])
    return table
