"""How easily a text is read, by published formulas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

from .missing import missing
from .words import FEWEST, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .reward import Exchange

ReadabilityFormula = Literal["flesch", "dale-chall", "coleman-liau"]

_OPENING = re.compile(r"^\s*(?:[-*•#>]+|\d+[.)])\s*", flags=re.MULTILINE)
_OPEN_END = re.compile(r"(?<=[^\s.!?])[ \t:;,*_`]*$", flags=re.MULTILINE)


class _Scale(NamedTuple):
    """What textstat calls a formula, and the range in which it tells texts apart."""

    function: str
    worst: float
    best: float
    sign: int


_SCALES: dict[ReadabilityFormula, _Scale] = {
    "flesch": _Scale("flesch_reading_ease", 0.0, 100.0, 1),
    "dale-chall": _Scale("dale_chall_readability_score", -12.0, 0.0, -1),
    "coleman-liau": _Scale("coleman_liau_index", -20.0, 0.0, -1),
}


class ReadabilityReward:
    """How easily a response is read; higher is easier.

    - ``flesch``: Flesch's reading ease (1948), 206.835 − 1.015 · words/sentences −
      84.6 · syllables/words, held to 0 to 100.
    - ``dale-chall``: the negative of Dale and Chall's score (1948), 15.79 · d + 0.0496 ·
      words/sentences, and 3.6365 more where d, the share of words outside their list of 3,000
      familiar ones, is above 0.05; held to −12 to 0.
    - ``coleman-liau``: the negative of Coleman and Liau's grade (1975), 0.0588 · letters in 100
      words − 0.296 · sentences in 100 words − 15.8; held to −20 to 0.

    The counts are textstat's, syllables by the CMU pronouncing dictionary. A line ends a sentence,
    and what opens items of lists is no part of one. Fewer than five words are given the worst:
    nothing is not easily read. Prompts do not count. Needs the package textstat (extra ``train``).

    Args:
        formula: Which.

    Raises:
        ValueError: If there is no such formula.
    """

    def __init__(self, formula: ReadabilityFormula = "flesch") -> None:
        """Finds the formula."""
        if formula not in _SCALES:
            known = ", ".join(get_args(ReadabilityFormula))
            raise ValueError(f"formula must be one of {known}, not {formula!r}")
        try:
            import textstat
        except ImportError as error:
            raise missing("textstat") from error
        self._scale = _SCALES[formula]
        self._formula: Callable[[str], float] = getattr(textstat, self._scale.function)

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        return [self._score(response) for _, response in exchanges]

    def _score(self, text: str) -> float:
        scale = self._scale
        if len(words_of(text)) < FEWEST:
            return scale.worst
        found = scale.sign * float(self._formula(_in_sentences(text)))
        return min(max(found, scale.worst), scale.best)


def _in_sentences(text: str) -> str:
    """The text with a full stop at the end of each line, and without the marks of lists."""
    return _OPEN_END.sub(".", _OPENING.sub("", text.strip()))
