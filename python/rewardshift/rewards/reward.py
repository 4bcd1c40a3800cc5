"""What a reward is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

Exchange = tuple[str, str]
"""A prompt and a response to it."""


class Reward(Protocol):
    """Anything that scores exchanges; a function will do.

    Methods that decide before the response is complete ask for the score of what there is of it:
    the response of an exchange may be a prefix, or empty.
    """

    def __call__(self, exchanges: Sequence[Exchange]) -> Sequence[float]:
        """A finite score for each."""
        ...


def scores(reward: Reward, exchanges: Sequence[Exchange]) -> list[float]:
    """What a reward says, checked.

    Raises:
        ValueError: If there are not as many scores, or one is no finite number; it names the text.
    """
    found = [float(score) for score in reward(exchanges)]
    if len(found) != len(exchanges):
        raise ValueError(f"the reward gave {len(found)} scores for {len(exchanges)} responses")
    for score, (prompt, response) in zip(found, exchanges, strict=True):
        if not math.isfinite(score):
            raise ValueError(f"the reward gave {score} for {response!r}, a response to {prompt!r}")
    return found
