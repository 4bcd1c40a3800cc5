"""What ``rewardshift demo`` tells the answers of a dial by: a number that takes no model."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rewardshift.errors import Error
from rewardshift.rewards import (
    FormalityReward,
    ProseReward,
    ReadabilityReward,
    Reward,
    VaderReward,
    scores,
)
from rewardshift.rewards.words import words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rewardshift.rewards import Exchange


@dataclass(frozen=True, slots=True)
class Measure:
    """A reward, and how its values are written.

    Attributes:
        reward: Takes no model.
        form: With a place for the number.
    """

    reward: Reward
    form: str

    def of(self, prompt: str, response: str) -> float:
        """The value of a response."""
        return scores(self.reward, [(prompt, response)])[0]

    def written(self, value: float) -> str:
        """A value with what it is of."""
        return self.form.format(value)


def _word_counts(exchanges: Sequence[Exchange]) -> list[float]:
    return [len(words_of(response)) for _, response in exchanges]


_BY_DIAL: dict[str, tuple[Callable[[], Reward], str]] = {
    "positive": (VaderReward, "VADER {:+.2f}"),
    "concise": (lambda: _word_counts, "{:.0f} words"),
    "plain": (partial(ReadabilityReward, "flesch"), "reading ease {:.0f}"),
    "formal": (FormalityReward, "formality {:.2f}"),
    "prose": (ProseReward, "{:.0%} prose"),
}


def measure_of(dial: str) -> Measure | None:
    """The measure for a dial; None where there is none, or its package is missing."""
    if dial not in _BY_DIAL:
        return None
    make, form = _BY_DIAL[dial]
    try:
        return Measure(make(), form)
    except Error:
        return None
