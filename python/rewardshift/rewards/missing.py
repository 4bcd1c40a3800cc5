"""What to say where a package is missing."""

from __future__ import annotations

from rewardshift.errors import Error


def missing(package: str) -> Error:
    """The error of a reward whose package is not there."""
    return Error(f"this reward needs {package}, which is missing: pip install 'rewardshift[train]'")
