"""What all scripts do alike: one thread for the small things, and errors as one line."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import torch


def run_script(main: Callable[[], object]) -> None:
    """Calls ``main`` and ends the process.

    A bad option, file or folder (``ValueError``, ``OSError``) is told in one line on standard error, with exit code
    2; anything else is a bug and shows its traceback. An interruption by the keyboard gives exit code 130.

    Args:
        main: reads the command line and does the work.
    """
    # The agent's network is tiny: more threads would only get in the way of the inner training's.
    torch.set_num_threads(1)
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def command_line() -> str:
    """The command that started this script, for the record: without the places of this machine."""
    script, *arguments = sys.argv
    return shlex.join(["python", f"scripts/{Path(script).name}", *map(without_places, arguments)])


_PLACE = re.compile(
    r"""(^|[=:,;\s"'(\[{])          # what it may stand behind, as in --data=folder:/PATH
        (?:~[^/\\]*|[A-Za-z]:|\.\.)? # a home folder, a drive, or a way out of the working folder
        [/\\](?:.*[/\\])?           # the folders
        (?=.)                       # its last part""",
    re.VERBOSE | re.DOTALL,
)


def without_places(text: str) -> str:
    """Text as it may be passed on: of a path that tells where things lie on this machine, the last part alone.

    These are absolute paths, and those that begin with ``~`` or ``..``, also behind an option or a kind, as in
    ``--data=folder:/home/alice/images``, which becomes ``--data=folder:images``. Other paths stay as they are.

    Args:
        text: one argument of a command line, or one option's value.
    """
    return _PLACE.sub(r"\1", text.rstrip("/\\") or text)
