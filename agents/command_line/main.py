"""Which commands there are. Nothing heavy is imported before one is chosen, so that ``lambda-rl --help`` is quick."""

from __future__ import annotations

import contextlib
import io
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import lambda_rl
from lambda_rl.checks import did_you_mean, printable

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


@dataclass(frozen=True)
class Command:
    """A command.

    Attributes:
        help: what it does, in one line.
        where: ``module:function`` within this room; empty: one that needs no extra,
            which :mod:`lambda_rl.cli` does.
    """

    help: str
    where: str = ""

    def load(self) -> Callable[[Sequence[str]], object]:
        """What reads its options and does it.

        Raises:
            ModuleNotFoundError: a package of the extra is missing.
        """
        found: Callable[[Sequence[str]], object] = pkgutil.resolve_name(f"{__package__}.{self.where}")
        return found


COMMANDS: dict[str, Command] = {
    "train": Command("train an agent by PPO; leaves a run folder with its policy", "training:train_agent"),
    "train-any-loop": Command("train a policy for loops of any kind", "any_loop:train_any_loop"),
    "compare": Command("compare policies with tuned schedules and constants", "judging:compare"),
    "run": Command("train one network with any schedule of λ", "judging:run"),
    "export": Command("write the policy file of a training run", "policies:export"),
    "info": Command("what a policy file says of itself, and when not to use it"),
    "card": Command("the model card of a policy"),
    "list": Command("the policies that come with the package"),
    "suites": Command("the built-in suites; with a name, the tasks of one", "suites:suites"),
    "suggest": Command("a constant weight decay for a run, without a policy"),
    "generality": Command("judge schedules on loops that training never saw", "judging:generality"),
    "foreign-rivals": Command(
        "tune rivals of a policy, and judge them on these loops", "judging:foreign_rivals"
    ),
    "fresh-tasks": Command(
        "policies and variants side by side, on fresh training tasks", "judging:fresh_tasks"
    ),
    "gallery": Command("other people's loops with a policy in them, a page each", "judging:gallery"),
    "atlas": Command("measure the best constants of λ over many settings, and fit laws", "judging:atlas"),
    "reproduce": Command("reproduce the experiments of Lu (2017)", "judging:reproduce"),
    "bench": Command("time the inner training against others and the machine", "judging:bench"),
    "fit-kappa": Command("fit the κ that suggest takes to the curves of a training", "policies:fit"),
    "ablate-features": Command("fit a run's policy anew without a family of features", "policies:ablate"),
    "write-card": Command("fill in the facts and numbers of model cards anew", "policies:write_cards"),
    "completion": Command("completion of commands and options, for a shell", "completion:completion"),
}


def usage() -> str:
    """What ``lambda-rl --help`` prints."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: lambda-rl COMMAND [OPTIONS]",
            "",
            lambda_rl.__doc__ or "",
            "",
            *lines,
            "",
            "lambda-rl COMMAND --help lists the options of a command, lambda-rl --version says which release this is.",
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line says.

    Args:
        arguments: in place of the command line's.

    Returns:
        The exit status: 0, or 2 after one line that says what was wrong. Commands that train may leave by
        ``SystemExit`` instead.
    """
    name, *rest = (sys.argv[1:] if arguments is None else list(arguments)) or ["--help"]
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # λ, in a terminal without it
    if name in ("--help", "-h", "help"):
        sys.stdout.write(usage())
        return 0
    if name == "--version":
        print(f"lambda-rl {lambda_rl.__version__}")
        return 0
    if name not in COMMANDS:
        print(
            f"error: unknown command {printable(name)!r}; allowed: {', '.join(COMMANDS)}{did_you_mean(name, COMMANDS)}",
            file=sys.stderr,
        )
        return 2
    try:
        return _do(name, rest)
    except KeyboardInterrupt:  # before the command's own care for it begins
        print("interrupted", file=sys.stderr)
        return 130


def _do(name: str, rest: Sequence[str]) -> int:
    """Does one command."""
    command = COMMANDS[name]
    if not command.where:
        from lambda_rl.cli import main as base

        with _as_markdown() if name == "card" and sys.stdout.isatty() else contextlib.nullcontext():
            return base([name, *rest])
    try:
        from lambda_rl.agents.presenting.script import run_script

        do = command.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "lambda_rl":
            raise
        print(
            f"error: lambda-rl {name} needs packages that are not installed, such as {missing}: "
            f"pip install 'lambda-rl[train]'",
            file=sys.stderr,
        )
        return 2
    run_script(lambda: do(rest))
    return 0


@contextlib.contextmanager
def _as_markdown() -> Iterator[None]:
    """Shows what is printed within as Markdown, in the width of the terminal; as it is where rich is missing."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        yield
    try:
        from rich.console import Console
        from rich.markdown import Markdown
    except ModuleNotFoundError:
        sys.stdout.write(text.getvalue())
    else:
        Console().print(Markdown(_FRONT_MATTER.sub("", text.getvalue())))


if __name__ == "__main__":
    sys.exit(main())
