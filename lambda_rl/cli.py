"""The commands that need no more than deployment does: info, card, list and suggest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn, optim

from lambda_rl.arguments import whole_number
from lambda_rl.checks import did_you_mean, printable
from lambda_rl.knobs import KAPPA, LAM
from lambda_rl.policy.file import load_policy, policy_path, shipped_policies
from lambda_rl.policy.text import describe
from lambda_rl.suggest import suggest_weight_decay
from lambda_rl.suggest.suggestion import ATLAS, CONSTANT, NAMED

_OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    kind.__name__.lower(): kind for kind in (optim.SGD, optim.Adam, optim.AdamW)
}
_NETWORKS: dict[str | None, Callable[[], nn.Module | None]] = {
    "yes": lambda: nn.LayerNorm(1),
    "no": lambda: nn.Linear(1, 1),
    None: lambda: None,
}
_SOURCES = {
    NAMED: "",
    ATLAS: "; by the atlas",
    CONSTANT: "; one for all runs, tell --epochs for a better one",
}
_LR_MEAN = {"constant": 1.0, "cosine": 0.5, "linear": 0.5}
"""Mean learning rate over a run to its peak."""

WHEN_NOT = "## When not to use it"
"""Heading of a model card."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong as a ``ValueError`` of one line, with a name that is like a wrong one."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"lambda-rl {command}", description=description, allow_abbrev=False)

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The options.

        Raises:
            ValueError: one is unknown, missing, or has no value that it may have.
        """
        names = [word.partition("=")[0] for word in arguments if word.startswith("--")]
        for name in names:  # before a required one is missed, which may be the one that was meant
            if name not in self._option_string_actions:
                hint = did_you_mean(name, self._option_string_actions)
                self.error(f"unknown option {name}{hint}")
        return self.parse_args(arguments)

    def error(self, message: str) -> NoReturn:
        """Raises it."""
        raise ValueError(f"{message} (see {self.prog} --help)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = [str(choice) for choice in action.choices or ()]
        if choices and value not in choices:
            told = f"must be one of {', '.join(choices)}; got {value!r}{did_you_mean(value, choices)}"
            raise argparse.ArgumentError(action, told)


def _info(arguments: Sequence[str]) -> str:
    """What a policy file says, and when not to use the policy, if a card beside it says so."""
    parser = Parser("info", "What a policy file says of itself, and when not to use it.")
    parser.add_argument("policy", metavar="FILE", help="a policy file, or the name of a shipped policy")
    options = parser.read(arguments)
    text, card = describe(load_policy(options.policy)), _card_path(options.policy)
    if card.is_file():
        _, heading, rest = _read(card).partition(f"\n{WHEN_NOT}\n")
        words = rest.partition("\n## ")[0].strip()
        text += f"\nwhen not to use it\n{words}\n" if heading and words else ""
    return text


def _card(arguments: Sequence[str]) -> str:
    """The model card beside a policy file."""
    parser = Parser("card", "The model card of a policy: what it is, results, and when not to use it.")
    parser.add_argument("policy", metavar="FILE", help="a policy file, or the name of a shipped policy")
    path = _card_path(parser.read(arguments).policy)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; this policy has no model card")
    return _read(path)


def _card_path(policy: str) -> Path:
    return policy_path(policy).with_suffix(".md")


def _read(path: Path) -> str:
    return printable(path.read_text(encoding="utf-8"), keep="\n\t")


def _list(arguments: Sequence[str]) -> str:
    """A line a policy."""
    Parser("list", "The policies that come with the package, the default one first.").read(arguments)
    lines = []
    for name in shipped_policies():
        card = load_policy(name).card
        moves = ", ".join({LAM: "λ", KAPPA: "κ"}.get(knob.name, knob.name) for knob in card.knobs)
        trained = printable(", ".join(filter(None, (card.suite, card.data)))) or "not stated"
        lines.append(
            f"{name:<12} moves {moves}; {card.lam_meaning} decay; {card.decisions} decisions in a run; trained on: "
            f"{trained}\n"
        )
    return "".join(lines) or "no policy comes with this package\n"


def _suggest(arguments: Sequence[str]) -> str:
    """A constant for a run."""
    parser = Parser("suggest", "A constant weight decay for a run, without a policy.")
    parser.add_argument("--optimizer", choices=tuple(_OPTIMIZERS), required=True)
    parser.add_argument("--lr", type=float, required=True, help="peak learning rate")
    parser.add_argument("--momentum", type=float, default=0.0, help="of sgd")
    parser.add_argument(
        "--lr-schedule",
        choices=tuple(_LR_MEAN),
        default="constant",
        help="how the learning rate goes from there to 0",
    )
    parser.add_argument(
        "--steps", "--total-steps", type=float, required=True, help="optimizer steps of the run"
    )
    parser.add_argument("--epochs", type=float, help="passes over the training examples")
    parser.add_argument("--batch-size", type=float, help="with --num-train, in place of --epochs")
    parser.add_argument("--num-train", type=float, help="training examples")
    parser.add_argument("--num-params", type=float, help="weights with decay, with --num-train")
    parser.add_argument("--norm-layers", choices=("yes", "no"), help="whether the network has any")
    parser.add_argument("--kappa", type=float, help="decay budget, e-foldings; without it the fitted one")
    options = parser.read(arguments)
    for name in ("lr", "batch_size", "num_train", "num_params"):
        number = getattr(options, name)
        if number is not None and not number > 0:
            raise ValueError(f"--{name.replace('_', '-')} must be above 0, got {number:g}")
    if (options.batch_size is None) != (options.num_train is None):
        raise ValueError("--batch-size and --num-train go together: they say how many epochs --steps are")
    if options.num_params is not None and options.num_train is None:
        raise ValueError("--num-params goes with --num-train: laws ask for weights per training example")
    if options.epochs is None and options.batch_size is not None:
        options.epochs = options.steps * options.batch_size / options.num_train
    make = _OPTIMIZERS[options.optimizer]
    momentum = options.momentum if make is optim.SGD else 0.0
    more = {"momentum": momentum} if momentum else {}
    count = 1 if options.num_params is None else whole_number("--num-params", options.num_params)
    weights = nn.Parameter(torch.empty(count, 1, device="meta"))
    optimizer = make([weights], lr=options.lr, **more)
    found = suggest_weight_decay(
        optimizer,
        options.steps,
        kappa=options.kappa,
        lr_sum=options.lr * options.steps * _LR_MEAN[options.lr_schedule] / (1.0 - momentum),
        epochs=options.epochs,
        num_train=options.num_train if options.num_params is not None else None,
        model=_NETWORKS[options.norm_layers](),
    )
    low, high = found.interval
    of = f", interval {low:.3g} to {high:.3g}" if low < high else ""
    text = f"weight_decay={found.weight_decay:.3g}  (κ = {found.kappa:.3g}{of}{_SOURCES[found.source]})\n"
    return text + "".join(f"extrapolated: {what}\n" for what in found.outside)


COMMANDS: dict[str, Callable[[Sequence[str]], str]] = {
    "info": _info,
    "card": _card,
    "list": _list,
    "suggest": _suggest,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Does one of the commands.

    Args:
        arguments: in place of the command line's.

    Returns:
        The exit status: 0, or 2 after one line that says what was wrong.
    """
    name, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or [""]
    try:
        if name not in COMMANDS:
            allowed = ", ".join(COMMANDS)
            raise ValueError(f"unknown command {name!r}; allowed: {allowed}{did_you_mean(name, COMMANDS)}")
        text = COMMANDS[name](rest)
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # λ, in a terminal without it
        sys.stdout.write(text)
    except BrokenPipeError:  # `lambda-rl info FILE | head`
        return 0
    except (ValueError, OSError) as error:
        print(f"error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
