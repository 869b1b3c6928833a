"""The command ``lambda-rl``: what a policy is, what is known of it, and which constant to take without one."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from torch import nn, optim

import lambda_rl
from lambda_rl.checks import printable
from lambda_rl.policy.file import load_policy, policy_path, shipped_policies
from lambda_rl.policy.text import describe
from lambda_rl.suggest import suggest_weight_decay

_OPTIMIZERS: dict[str, Callable[..., optim.Optimizer]] = {
    "sgd": optim.SGD,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lambda-rl", description="Schedules of λ and learned policies.")
    parser.add_argument("--version", action="version", version=f"lambda-rl {lambda_rl.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{info,list,suggest}")
    info = commands.add_parser("info", help="print a policy's card")
    info.add_argument("policy", metavar="FILE", help="a policy file, or the name of a shipped policy")
    info.add_argument(
        "--card", action="store_true", help="print its model card, with results and when not to use it"
    )
    commands.add_parser("list", help="list the policies that come with the package")
    suggest = commands.add_parser("suggest", help="a constant weight decay for a run, without a policy")
    suggest.add_argument("--optimizer", choices=tuple(_OPTIMIZERS), required=True)
    suggest.add_argument("--lr", type=float, required=True, help="peak learning rate")
    suggest.add_argument("--momentum", type=float, default=0.0, help="of sgd")
    suggest.add_argument("--steps", type=float, required=True, help="optimizer steps of the run")
    suggest.add_argument("--epochs", type=float, help="passes over the training examples")
    suggest.add_argument("--kappa", type=float, help="decay budget, e-foldings; without it the fitted one")
    return parser


def _card(policy: str) -> str:
    """The model card beside a policy file."""
    path = policy_path(policy).with_suffix(".md")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; this policy has no model card")
    return printable(path.read_text(encoding="utf-8"), keep="\n\t")


def _suggestion(options: argparse.Namespace) -> str:
    """What ``suggest`` prints."""
    if not options.lr > 0:
        raise ValueError(f"--lr must be above 0, got {options.lr:g}")
    more = {"momentum": options.momentum} if options.optimizer == "sgd" else {}
    optimizer = _OPTIMIZERS[options.optimizer]([nn.Linear(1, 1).weight], lr=options.lr, **more)
    found = suggest_weight_decay(optimizer, options.steps, kappa=options.kappa, epochs=options.epochs)
    low, high = found.interval
    of = f", interval {low:.3g} to {high:.3g}" if low < high else ""
    return f"weight_decay={found.weight_decay:.3g}  (κ = {found.kappa:.3g}{of})\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        arguments: in place of the command line's.

    Returns:
        The exit status: 0, or 2 after one line that says what was wrong.
    """
    options = _parser().parse_args(arguments)
    try:
        if options.command == "info":
            text = _card(options.policy) if options.card else describe(load_policy(options.policy))
        elif options.command == "suggest":
            text = _suggestion(options)
        else:
            suites = {name: load_policy(name).card.suite for name in shipped_policies()}
            text = "".join(
                f"{name}  {printable(suite) or 'suite not stated'}\n" for name, suite in suites.items()
            )
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")  # λ, in a terminal without it
        sys.stdout.write(text or "no policy comes with this package\n")
    except BrokenPipeError:  # `lambda-rl info FILE | head`
        return 0
    except (ValueError, OSError) as error:
        print(f"lambda-rl: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
