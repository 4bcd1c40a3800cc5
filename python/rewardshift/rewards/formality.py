"""How formal a text is, by words that tell of talk."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .words import FEWEST, phrases, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .reward import Exchange

_PERSONS = frozenset(
    (
        *("i", "me", "my", "mine", "myself", "we", "us", "our", "ours", "ourselves"),
        *("you", "your", "yours", "yourself", "yourselves"),
    )
)
_CONTRACTED = ("n't", "'m", "'re", "'ve", "'ll", "'d")
_IS_CONTRACTED = frozenset(
    f"{word}'s"
    for word in (
        *("he", "she", "it", "that", "this", "there", "here", "what", "who", "where", "when"),
        *("why", "how", "let"),
    )
)
_LOOSE = phrases(
    (
        *("more or less", "maybe", "sort of", "kind of", "something like"),  # Biber's hedges
        *("for sure", "a lot", "just", "really"),  # his emphatics
        *("anyway", "anyhow", "anyways"),  # and discourse particles
    )
)
_OPENING_PARTICLE = re.compile(r"(?:^|[.!?\n]\s*)(?:well|now|okay|ok|oh|hey|wow)\b", re.IGNORECASE)


class FormalityReward:
    """How formal a response is: 1 less marks of talk by words, from 0 to 1.

    Marks of talk are what Biber (1988, Variation across Speech and Writing) counts as involved
    production and can be told by the word alone: contractions, pronouns of the first and second
    person, hedges (maybe, kind of, ...), emphatics (really, just, a lot, for sure) and discourse
    particles (anyway, and well or now at the beginning of a sentence); and, of our own, okay, oh,
    hey and wow there, and exclamation marks. "You're" has two. Fewer than five words have 0.
    Prompts do not count.
    """

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        return [_score(response) for _, response in exchanges]


def _score(text: str) -> float:
    words = words_of(text)
    if len(words) < FEWEST:
        return 0.0
    marks = sum(map(_marks_of, words)) + len(_LOOSE.findall(" ".join(words)))
    marks += len(_OPENING_PARTICLE.findall(text)) + text.count("!")
    return max(0.0, 1 - marks / len(words))


def _marks_of(word: str) -> int:
    contracted = word.endswith(_CONTRACTED) or word in _IS_CONTRACTED
    return contracted + (word.partition("'")[0] in _PERSONS)
