"""Whether a text is running prose, or lists and headings."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .words import FEWEST, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .reward import Exchange

_MARKED = re.compile(
    r"\s*(?:"
    r"[-*+•‣–]\s"  # an item of a list
    r"|\(?(?:\d{1,3}|[A-Za-z])[.)]\s"  # a numbered one
    r"|#{1,6}\s|>|\||```|~~~"  # a heading, a quotation, a table, code
    r"|(?:\*\*|__).*(?:\*\*|__):?\s*$"  # bold as a whole
    r")"
)
_LONGEST = 100.0


class ProseReward:
    """How much of a response is running prose: the share of its words in lines without markup.

    Items of lists, headings, quotations, tables, code fences and lines that are bold as a whole are
    markup (CommonMark's, and the bullets that models write instead). From 0 to 1; fewer than five
    words have 0. Prompts do not count.
    """

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        return [_prose(response) for _, response in exchanges]


class LineLengthReward:
    """How long the lines of a response are: its words by line that is not empty, at most 100.

    Lists and headings are short lines, whatever they are marked with: it judges what
    ``ProseReward`` has trained. Fewer than five words have 0. Prompts do not count.
    """

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        return [_words_a_line(response) for _, response in exchanges]


def _prose(text: str) -> float:
    lines = text.splitlines()
    marked, plain = (
        sum(len(words_of(line)) for line in lines if bool(_MARKED.match(line)) is is_marked)
        for is_marked in (True, False)
    )
    return plain / (marked + plain) if marked + plain >= FEWEST else 0.0


def _words_a_line(text: str) -> float:
    words = len(words_of(text))
    lines = sum(1 for line in text.splitlines() if line.strip())
    return min(words / lines, _LONGEST) if words >= FEWEST else 0.0
