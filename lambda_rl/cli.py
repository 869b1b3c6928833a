"""The command ``lambda-rl``: what a policy is, and what is known of it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import lambda_rl
from lambda_rl.checks import printable
from lambda_rl.policy.file import load_policy, policy_path, shipped_policies
from lambda_rl.policy.text import describe


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lambda-rl", description="Schedules of λ and learned policies.")
    parser.add_argument("--version", action="version", version=f"lambda-rl {lambda_rl.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="{info,list}")
    info = commands.add_parser("info", help="print a policy's card")
    info.add_argument("policy", metavar="FILE", help="a policy file, or the name of a shipped policy")
    info.add_argument(
        "--card", action="store_true", help="print its model card, with results and when not to use it"
    )
    commands.add_parser("list", help="list the policies that come with the package")
    return parser


def _card(policy: str) -> str:
    """The model card beside a policy file."""
    path = policy_path(policy).with_suffix(".md")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; this policy has no model card")
    return printable(path.read_text(encoding="utf-8"), keep="\n\t")


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
