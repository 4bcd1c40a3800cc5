"""Systems beside shifted speculative sampling, on the same models with the same accounting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .method import Answer, Method

if TYPE_CHECKING:
    from rewardshift.rewards import Reward

__all__ = ["Answer", "Method", "by_name"]


def by_name(spec: str, reward: Reward | None = None) -> Method:  # noqa: ARG001 - it takes one soon
    """The method of a name; none is here yet.

    Raises:
        ValueError: If there is no such name.
    """
    raise ValueError(f"there is no method {spec!r}")
