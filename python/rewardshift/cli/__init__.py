"""The command line; run as ``rewardshift`` or ``python -m rewardshift.cli``."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line with this process's arguments and exits."""
    start("rewardshift.cli.app", "app")


def start(module: str, function: str) -> None:
    """Runs one of our programs, as ``program.run`` does, and exits."""
    try:
        from .program import run
    except KeyboardInterrupt:  # from then on it is answered there
        sys.stderr.write("rewardshift: interrupted\n")
        sys.exit(130)
    run(module, function)
