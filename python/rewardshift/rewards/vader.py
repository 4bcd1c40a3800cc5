"""How positive a text sounds, by VADER."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .missing import missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .reward import Exchange


class VaderReward:
    """How positive a response sounds, from −1 to 1: VADER's compound (Hutto and Gilbert, 2014).

    Prompts do not count. Needs the package vaderSentiment (extra ``train``).
    """

    def __init__(self) -> None:
        """Reads the lexicon."""
        try:
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
        except ImportError as error:
            raise missing("vaderSentiment") from error
        self._polarity = SentimentIntensityAnalyzer().polarity_scores

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        return [float(self._polarity(response)["compound"]) for _, response in exchanges]
