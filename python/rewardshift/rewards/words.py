"""Words of English text, as the rewards that count them see them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

FEWEST = 5
"""Words below which there is nothing to count: rewards give such texts what nobody is after."""

_WORD = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, contractions as one."""
    return [word.lower() for word in _WORD.findall(text.replace("’", "'"))]


def phrases(listed: Iterable[str]) -> re.Pattern[str]:
    """What finds any of these words and phrases in words joined by spaces."""
    longest_first = sorted(listed, key=len, reverse=True)
    return re.compile(rf"(?<![\w'])(?:{'|'.join(map(re.escape, longest_first))})(?![\w'])")
