"""A response that grows piece by piece."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rewardshift.text.chat_prompt import ChatPrompt

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rewardshift.decoder import Decoder
    from rewardshift.results import FinishReason
    from rewardshift.rewards import Exchange

    from .question import Question


class Response:
    """A question and the tokens of a response so far, with what the target thinks of them.

    Attributes:
        question: What it responds to.
        tokens: Of the response.
        target_logprobs: log p of each at temperature 1, as far as it is known.
    """

    def __init__(self, decoder: Decoder, question: Question) -> None:
        """Nothing yet; it may get as many tokens as are asked for, and as the context holds."""
        self._decoder = decoder
        self._ends = frozenset(decoder.end_of_generation)
        self._limit = min(question.max_tokens, decoder.context_size - len(question.tokens))
        self.question = question
        self.tokens: list[int] = []
        self.target_logprobs: list[float] = []

    @property
    def history(self) -> list[int]:
        """Prompt and response."""
        prompt = self.question.tokens
        if isinstance(prompt, ChatPrompt):
            return prompt.followed_by(self.tokens)
        return [*prompt, *self.tokens]

    @property
    def room(self) -> int:
        """Tokens that may follow, unless it has ended; 1 at first, for the decoder to refuse."""
        return max(self._limit, 1) - len(self.tokens)

    @property
    def has_ended(self) -> bool:
        """Whether an end-of-generation token was the last."""
        return bool(self.tokens) and self.tokens[-1] in self._ends

    @property
    def is_complete(self) -> bool:
        """Whether nothing may follow."""
        return self.has_ended or self.room <= 0

    @property
    def finish_reason(self) -> FinishReason:
        """Why nothing may follow."""
        return "stop" if self.has_ended else "length"

    def copy(self) -> Response:
        """Another that begins alike."""
        twin = copy(self)
        twin.tokens = list(self.tokens)
        twin.target_logprobs = list(self.target_logprobs)
        return twin

    def extend(self, tokens: Iterable[int], target_logprobs: Iterable[float]) -> None:
        """Adds a piece; the log-probabilities may be missing."""
        self.tokens += tokens
        self.target_logprobs += target_logprobs

    def text_with(self, tokens: Iterable[int] = ()) -> str:
        """The text, if these tokens followed; without one that ends it."""
        found = [*self.tokens, *tokens]
        if found and found[-1] in self._ends:
            found.pop()
        return self._decoder.detokenize(found)

    def exchange_with(self, tokens: Iterable[int] = ()) -> Exchange:
        """What a reward would score, if these tokens followed."""
        return self.question.prompt, self.text_with(tokens)

    def next_piece(self, most: int, seed: int) -> Question:
        """The question that a next piece of at most so many tokens would answer."""
        length = min(most, self.room)
        return replace(self.question, tokens=self.history, seed=seed, max_tokens=length)

    def as_known(self) -> dict[str, Any]:
        """What an answer says of it."""
        is_known = len(self.target_logprobs) == len(self.tokens)
        return {
            "text": self.text_with(),
            "tokens": tuple(self.tokens),
            "finish_reason": self.finish_reason,
            "target_logprobs": tuple(self.target_logprobs) if is_known else (),
        }
