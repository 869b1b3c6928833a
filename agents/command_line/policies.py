"""Commands about policy files, their cards and the κ that is suggested."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from lambda_rl.agents.command_line.parsing import parse
from lambda_rl.agents.record.provenance import command_line
from lambda_rl.policy.file import policy_path, shipped_policies


@dataclass(frozen=True)
class ExportOptions:
    """Writes the policy file of a training run, also of one that is still going on or was stopped.

    Attributes:
        source: run folder or checkpoint file.
        out: file to write; by default policy.safetensors in the run folder.
        last: the last policy in place of the best by validation.
    """

    source: tyro.conf.Positional[Path]
    out: Path | None = None
    last: bool = False


@dataclass(frozen=True)
class CardOptions:
    """Fills in the facts and numbers of model cards anew, out of the policy files beside them and measured results.

    Attributes:
        cards: model cards, each beside the policy file of the same name; none: those of the policies that ship.
        results: folder whose summary.json files are looked through.
    """

    cards: tyro.conf.Positional[tuple[Path, ...]] = ()
    results: Path = Path("docs/results")


def export(arguments: Sequence[str] | None = None) -> None:
    """Exports, and says where the policy is."""
    from lambda_rl.agents.ppo.export import export_policy

    options = parse(ExportOptions, arguments)
    print(f"policy: {export_policy(options.source, options.out, last=options.last)}")


def write_cards(arguments: Sequence[str] | None = None) -> None:
    """Updates each card, and says whether it changed."""
    from lambda_rl.agents.model_cards import update_card

    options = parse(CardOptions, arguments)
    for card in options.cards or [policy_path(name).with_suffix(".md") for name in shipped_policies()]:
        print(f"{card}: {'written' if update_card(card, options.results) else 'up to date'}")


def ablate(arguments: Sequence[str] | None = None) -> None:
    """Fits policies that lack a family of features each, and says where they are."""
    from lambda_rl.agents.ablation.command import AblationConfig
    from lambda_rl.agents.ablation.command import ablate as fit_without

    for path in fit_without(parse(AblationConfig, arguments), command_line()):
        print(path)


def fit(arguments: Sequence[str] | None = None) -> None:
    """Fits the κ that is suggested, and says what it comes to."""
    from lambda_rl.agents.baselines.kappa_curves import FitKappaConfig, fit_kappa

    print(fit_kappa(parse(FitKappaConfig, arguments), command_line()))
