"""How careful a text is with what it claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .words import FEWEST, phrases, words_of

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from .reward import Exchange

_HEDGES = phrases(
    (
        *(
            "almost",
            "apparently",
            "approximately",
            "broadly",
            "essentially",
            "fairly",
            "frequently",
        ),
        *("generally", "in general", "in most cases", "in my opinion", "in my view", "largely"),
        *("likely", "mainly", "maybe", "mostly", "often", "on the whole", "perhaps", "plausible"),
        *("plausibly", "possible", "possibly", "presumably", "probable", "probably", "relatively"),
        *("roughly", "seem", "seems", "appear", "appears", "sometimes", "somewhat", "suggest"),
        *("suggests", "tend to", "tends to", "to my knowledge", "typically", "uncertain"),
        *("unclear", "unlikely", "usually"),
    )
)
_BOOSTERS = phrases(
    (
        *("always", "certainly", "clearly", "decidedly", "definitely", "doubtless", "evidently"),
        *("in fact", "indeed", "never", "no doubt", "obviously", "of course", "surely", "truly"),
        *("undeniably", "undoubtedly", "without doubt", "without a doubt"),
    )
)
_POSSIBILITY = phrases(("may", "might", "could", "mightn't", "couldn't"))
_MOST = 10.0


class CautionReward:
    """How careful a response is: hedges less boosters in a hundred words, at most 10.

    Both are lists of Hyland (2005, Metadiscourse), without modal verbs (which ``PossibilityReward``
    counts) and words that mostly mean something else ("about", "show"). The bound keeps an answer
    from being hedged in every clause. Fewer than five words have −10, the least. Prompts do not
    count.
    """

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        return [_caution(words_of(response)) for _, response in exchanges]


class PossibilityReward:
    """How often a response says what may be: may, might and could in a hundred words.

    Biber's modals of possibility (1988) without "can", which mostly tells of ability. It shares no
    word with ``CautionReward``: it judges what that has trained. Fewer than five words have 0.
    Prompts do not count.
    """

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        found = [words_of(response) for _, response in exchanges]
        return [_rate(_POSSIBILITY, words) if len(words) >= FEWEST else 0.0 for words in found]


def _caution(words: Sequence[str]) -> float:
    if len(words) < FEWEST:
        return -_MOST
    found = _rate(_HEDGES, words) - _rate(_BOOSTERS, words)
    return min(max(found, -_MOST), _MOST)


def _rate(listed: re.Pattern[str], words: Sequence[str]) -> float:
    return 100 * len(listed.findall(" ".join(words))) / len(words)
