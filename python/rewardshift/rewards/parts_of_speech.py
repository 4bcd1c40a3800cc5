"""What can be told from how many words of each kind a text has."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING

from .missing import missing
from .words import FEWEST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .reward import Exchange

_TOKEN = re.compile(r"[A-Za-z]+?(?=n't\b)|n't\b|'[A-Za-z]+|[A-Za-z]+|[^\sA-Za-z]")
_SENTENCE_END = frozenset(".!?")
_FORMAL = ("NN", "NP", "AJ", "PRP", "PRF", "AT")  # nouns, adjectives, prepositions, articles
_DEICTIC = ("PN", "DPS", "V", "AV", "ITJ")  # pronouns, verbs, adverbs, interjections
_LEXICAL = ("NN", "NP", "AJ", "VV", "AV")
_SILENT = ("PU", "POS")


class FScoreReward:
    """How formal a response is: the F-score of Heylighen and Dewaele (1999), from 0 to 100.

    F = (nouns + adjectives + prepositions + articles − pronouns − verbs − adverbs − interjections
    + 100) / 2, each in per cent of all words. Words are told apart by the Hannover Tagger; "my" and
    its like count as pronouns. Fewer than five words have 0. Prompts do not count. Needs the
    package HanTa (extra ``train``).
    """

    def __init__(self) -> None:
        """Loads the tagger."""
        self._tags = _tagger()

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        return [self._score(self._tags(response)) for _, response in exchanges]

    @staticmethod
    def _score(tags: Sequence[str]) -> float:
        if len(tags) < FEWEST:
            return 0.0
        return 50 * (_share(tags, _FORMAL) - _share(tags, _DEICTIC) + 1)


class LexicalDensityReward:
    """How much a response says with its words: lexical density (Ure, 1971), from 0 to 100.

    Nouns, adjectives, adverbs and full verbs in per cent of all words: it does not know how many
    there are, only how few of them serve the others. Words are told apart by the Hannover Tagger.
    Fewer than five have 0. Prompts do not count. Needs the package HanTa (extra ``train``).
    """

    def __init__(self) -> None:
        """Loads the tagger."""
        self._tags = _tagger()

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        found = map(self._tags, (response for _, response in exchanges))
        return [100 * _share(tags, _LEXICAL) if len(tags) >= FEWEST else 0.0 for tags in found]


def _share(tags: Sequence[str], kinds: tuple[str, ...]) -> float:
    counts = Counter(tag.startswith(kinds) for tag in tags)
    return counts[True] / len(tags)


@lru_cache(maxsize=1)
def _tagger() -> Callable[[str], list[str]]:
    """What finds the tags (CLAWS 5) of a text's words."""
    try:
        from HanTa.HanoverTagger import HanoverTagger
    except ImportError as error:
        raise missing("HanTa") from error
    tagger = HanoverTagger("morphmodel_en.pgz")

    def tags(text: str) -> list[str]:
        found = []
        for sentence in _sentences(text):
            tagged = (str(tag) for _, _, tag in tagger.tag_sent(sentence))
            found += [tag for tag in tagged if not tag.startswith(_SILENT)]
        return found

    return tags


def _sentences(text: str) -> list[list[str]]:
    """Sentences as the tagger wants them: tokens, contractions cut in two."""
    found: list[list[str]] = [[]]
    for line in text.replace("’", "'").splitlines():
        for token in _TOKEN.findall(line):
            found[-1].append(token)
            if token in _SENTENCE_END:
                found.append([])
        found.append([])
    return [sentence for sentence in found if sentence]
