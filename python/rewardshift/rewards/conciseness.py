"""How briefly a question is answered."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .words import words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .reward import Exchange

_ENOUGH, _HALF = 8, 50
_CLOSING = re.compile(r"[\s\"'”’»)\]}*_`\U0001F000-\U0001FAFF☀-➿\uFE0F\u200D]+$")


class ConcisenessReward:
    """How briefly a response answers: min(1, n/8) / (1 + n/50), n being its words; from 0 to 1.

    Fifty words have half of what none would, so that long answers are told apart as well as short
    ones; below eight words it falls to 0 with n, for a word or two seldom answer. A response that
    does not end a sentence was cut, or says nothing whole, and has 0: so do lists whose last item
    ends without a full stop. The formula is ours, and does not look at what is said: have a judge
    look at whether answers still answer. Prompts do not count.
    """

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        return [_score(response) for _, response in exchanges]


def _score(text: str) -> float:
    count = len(words_of(text))
    if not is_whole(text):
        return 0.0
    return min(1.0, count / _ENOUGH) / (1 + count / _HALF)


def is_whole(text: str) -> bool:
    """Whether a text ends a sentence, be it in quotes, in brackets or before a smiley."""
    return _CLOSING.sub("", text).endswith((".", "!", "?", "…"))
