"""What all commands do alike: one thread for the small things, and errors as one line."""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch


class Interrupted(KeyboardInterrupt):
    """An interruption by the keyboard, with words that say how to go on."""


def run_script(main: Callable[[], object]) -> None:
    """Calls ``main`` and ends the process.

    A bad option, file or folder (``ValueError``, ``OSError``) is told in one line on standard error, with exit code
    2; anything else is a bug and shows its traceback. An interruption by the keyboard gives exit code 130, and says
    how to go on where that is possible (:class:`Interrupted`).

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
    except KeyboardInterrupt as stop:
        print(": ".join(["interrupted", *map(str, stop.args)]), file=sys.stderr)
        sys.exit(130)
