"""What a response is worth: a number for each prompt and response, higher being better."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Protocol

from .decoder import Decoder
from .errors import Error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from .loading import StrPath
    from .options import LoadOptions

Exchange = tuple[str, str]
"""A prompt and a response to it."""


class Reward(Protocol):
    """Anything that scores exchanges; a function will do."""

    def __call__(self, exchanges: Sequence[Exchange]) -> Sequence[float]:
        """A finite score for each."""
        ...


def scores(reward: Reward, exchanges: Sequence[Exchange]) -> list[float]:
    """What a reward says, checked.

    Raises:
        ValueError: If there are not as many scores, or one is no finite number; it names the text.
    """
    found = [float(score) for score in reward(exchanges)]
    if len(found) != len(exchanges):
        raise ValueError(f"the reward gave {len(found)} scores for {len(exchanges)} responses")
    for score, (prompt, response) in zip(found, exchanges, strict=True):
        if not math.isfinite(score):
            raise ValueError(f"the reward gave {score} for {response!r}, a response to {prompt!r}")
    return found


class VaderReward:
    """How positive a response sounds, from −1 to 1: VADER's compound (Hutto and Gilbert, 2014).

    Prompts do not count. Needs the package vaderSentiment (extra ``train``).
    """

    def __init__(self) -> None:
        """Reads the lexicon."""
        try:
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
        except ImportError as error:
            raise Error(_missing("vaderSentiment")) from error
        self._polarity = SentimentIntensityAnalyzer().polarity_scores

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        return [float(self._polarity(response)["compound"]) for _, response in exchanges]


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
            raise Error(_missing("afinn")) from error
        self._valence = Afinn().score

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        return [self._valence(text) / max(1, len(text.split())) for _, text in exchanges]


class JudgeReward:
    """What an instruct model thinks: its log-odds of answering yes to a question.

    Args:
        model: GGUF file of the judge, which has a chat template.
        question: With ``{prompt}`` and ``{response}`` in it, to be answered by yes or no.
        **options: As in ``rewardshift.options.LoadOptions``.
    """

    QUESTION = (
        "A user wrote:\n{prompt}\n\nAn assistant answered:\n{response}\n\n"
        "Is this a good answer? Reply with Yes or No."
    )

    def __init__(
        self, model: StrPath, question: str = QUESTION, **options: Unpack[LoadOptions]
    ) -> None:
        """Loads the judge."""
        if "{response}" not in question:
            raise ValueError(f"the question has no {{response}} in it: {question!r}")
        self._question = question
        self._judge = Decoder(model, **options)

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges, one by one."""
        return [self._log_odds(*exchange) for exchange in exchanges]

    def _log_odds(self, prompt: str, response: str) -> float:
        parts = {"{prompt}": prompt, "{response}": response}
        asked = re.sub(r"\{prompt\}|\{response\}", lambda m: parts[m.group()], self._question)
        tokens, _ = self._judge.chat_prompts([{"role": "user", "content": asked}])
        yes, no = (self._judge.score(tokens, word).target_logprob for word in ("Yes", "No"))
        return yes - no


def _missing(package: str) -> str:
    return f"this reward needs {package}, which is missing: pip install 'rewardshift[train]'"
