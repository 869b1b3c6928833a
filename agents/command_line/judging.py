"""Commands whose options and work are one configuration and one function; imported when one of them is chosen."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tyro

from lambda_rl.agents.command_line.parsing import parse
from lambda_rl.agents.presenting.script import Interrupted


@contextmanager
def _kept(*places: Path | str, what: str = "runs") -> Iterator[None]:
    """Within, an interruption by the keyboard says that what is done is kept, and where."""
    try:
        yield
    except KeyboardInterrupt:
        where = f" in {' and '.join(map(str, places))}" if places else ""
        raise Interrupted(f"the {what} that are done are kept{where}; the same command goes on") from None


def compare(arguments: Sequence[str] | None = None) -> None:
    """Compares policies with tuned schedules and constants."""
    from lambda_rl.agents.comparison.command import CompareConfig, run_comparison
    from lambda_rl.agents.record.artifacts import fetched

    config = parse(CompareConfig, arguments)
    folder = Path(config.out) / "policies"
    run_comparison(
        dataclasses.replace(config, policy=tuple(fetched(policy, folder) for policy in config.policy))
    )


def run(arguments: Sequence[str] | None = None) -> None:
    """Trains one network with any schedule of λ."""
    from lambda_rl.agents.single_run import NetworkConfig, train_one

    train_one(parse(NetworkConfig, arguments, config=(tyro.conf.OmitArgPrefixes,)))


def generality(arguments: Sequence[str] | None = None) -> None:
    """Judges schedules on loops that training never saw."""
    from lambda_rl.agents.foreign.command import GeneralityConfig, run_generality

    config = parse(GeneralityConfig, arguments)
    with _kept(config.out):
        run_generality(config)


def foreign_rivals(arguments: Sequence[str] | None = None) -> None:
    """Tunes rivals of a policy, and judges them on the same loops."""
    from lambda_rl.agents.foreign.rivals.command import RivalsConfig, run_rivals

    config = parse(RivalsConfig, arguments)
    with _kept(config.out, config.kept):
        run_rivals(config)


def fresh_tasks(arguments: Sequence[str] | None = None) -> None:
    """Plays policies and variants of them side by side on fresh tasks."""
    from lambda_rl.agents.fresh_tasks.command import FreshConfig, run_fresh_tasks

    config = parse(FreshConfig, arguments)
    with _kept(config.out):
        run_fresh_tasks(config)


def gallery(arguments: Sequence[str] | None = None) -> None:
    """Writes the pages of other people's loops."""
    from lambda_rl.agents.gallery.command import GalleryConfig, make_gallery

    config = parse(GalleryConfig, arguments)
    with _kept():
        make_gallery(config)


def atlas(arguments: Sequence[str] | None = None) -> None:
    """Measures the best constants, and fits laws to them."""
    from lambda_rl.agents.atlas.command import AtlasConfig, run_atlas

    config = parse(AtlasConfig, arguments)
    with _kept(config.out, what="rows"):
        run_atlas(config)


def reproduce(arguments: Sequence[str] | None = None) -> None:
    """Reproduces the experiments of Lu (2017)."""
    from lambda_rl.agents.reproduction.lu2017.command import ReproduceConfig, run_reproduction

    config = parse(ReproduceConfig, arguments)
    with _kept(config.out):
        run_reproduction(config)


def bench(arguments: Sequence[str] | None = None) -> None:
    """Times the inner training against others and against the machine."""
    from lambda_rl.agents.benchmark.command import benchmark
    from lambda_rl.agents.benchmark.config import BenchmarkConfig

    benchmark(parse(BenchmarkConfig, arguments))
