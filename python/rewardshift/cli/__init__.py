"""The command line; run as ``rewardshift`` or ``python -m rewardshift.cli``."""

from __future__ import annotations


def main() -> None:
    """Runs the command line with this process's arguments and exits."""
    from .app import app

    app()
