"""Rewards of a user's own, as the command line takes them by module and function."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.rewards import Exchange


def length(exchanges: Sequence[Exchange]) -> list[float]:
    """Characters of a response."""
    return [float(len(response)) for _, response in exchanges]


def variety(exchanges: Sequence[Exchange]) -> list[float]:
    """Different ones."""
    return [float(len(set(response))) for _, response in exchanges]
