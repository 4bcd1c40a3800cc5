"""How positive a text sounds, by AFINN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .missing import missing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .reward import Exchange


class AfinnReward:
    """How positive a response sounds: the sum of its words' valences in AFINN (Nielsen, 2011).

    Each word has −5 to 5 and most have 0; the sum is divided by the number of words. Independent of
    VADER's lexicon. Prompts do not count. Needs the package afinn (extra ``train``).
    """

    def __init__(self) -> None:
        """Reads the lexicon."""
        try:
            from afinn import Afinn
        except ImportError as error:
            raise missing("afinn") from error
        self._valence = Afinn().score

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        return [self._valence(text) / max(1, len(text.split())) for _, text in exchanges]
