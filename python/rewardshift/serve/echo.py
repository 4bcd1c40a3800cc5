"""A prompt that comes back with its answer, and what its tokens' probabilities were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from rewardshift.grammar import GRAMMAR_OPTIONS
from rewardshift.options import GOAL_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.options import SamplingOptions
    from rewardshift.results import Score

    from .wire.logprobs import TextLogprobs


@dataclass(frozen=True, slots=True)
class Echo:
    """A prompt as it is shown.

    Attributes:
        text: As it was given, or as its ids spell it.
        tokens: Its ids.
        score: Of all but the first; None where nobody asked, or there is one alone.
    """

    text: str
    tokens: Sequence[int]
    score: Score | None

    def tell(self, told: TextLogprobs) -> None:
        """Adds its tokens, of which the first has no probability."""
        for place, token in enumerate(self.tokens):
            if place == 0 or self.score is None:
                told.add(token, None, {})
                continue
            top = self.score.top_logprobs
            logprob = float(self.score.goal_logprobs[place - 1])
            told.add(token, logprob, top[place - 1] if top else {})
        told.offset = len(self.text)


def echo_of(
    decoder: Decoder, prompt: str | Sequence[int], options: SamplingOptions, *, is_scored: bool
) -> Echo:
    """Reads a prompt, and scores it under the law of its answer, without the answer's grammar."""
    tokens = decoder.tokenize(prompt) if isinstance(prompt, str) else list(prompt)
    text = prompt if isinstance(prompt, str) else decoder.detokenize(tokens, special=True)
    score = None
    if is_scored and len(tokens) > 1:
        shaping = (GOAL_OPTIONS - set(GRAMMAR_OPTIONS)) | {"top_logprobs"}
        goal: dict[str, Any] = {k: v for k, v in options.items() if k in shaping}
        score = decoder.score(tokens[:1], tokens[1:], **cast("SamplingOptions", goal))
    return Echo(text, tokens, score)
