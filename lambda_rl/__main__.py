"""``python -m lambda_rl`` is the command ``lambda-rl``, wherever the installed package says that it stands."""

import sys
from importlib.metadata import distribution

if __name__ == "__main__":
    (command,) = distribution("lambda-rl").entry_points.select(group="console_scripts", name="lambda-rl")
    sys.exit(command.load()())
