"""Log-probabilities in OpenAI's two shapes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rewardshift.results import TokenInfo
    from rewardshift.serve.facts import Facts

_NEVER = -9999.0
"""What OpenAI's answers have in place of -inf, which JSON has not."""


def finite(logprob: float) -> float:
    """A log-probability as JSON can have it."""
    return logprob if math.isfinite(logprob) else _NEVER


def _agreeing(token: int, logprob: float, top: Mapping[int, float]) -> Iterator[tuple[int, float]]:
    """The alternatives, among which the token itself has its very number.

    Where decoding is greedy it is computed in two ways, and the last digits differ; lm-eval takes a
    token for the most probable one if the numbers are equal.
    """
    for other, value in top.items():
        yield other, logprob if other == token else value


# --- chat's ---------------------------------------------------------------------------------------


def chat_logprobs(tokens: Iterable[TokenInfo], facts: Facts) -> dict[str, Any]:
    """``logprobs`` of chat completions."""
    content = [
        {
            **_entry(token.id, token.logprob, facts),
            "top_logprobs": [
                _entry(other, logprob, facts)
                for other, logprob in _agreeing(token.id, token.logprob, token.top_logprobs)
            ],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _entry(token: int, logprob: float, facts: Facts) -> dict[str, Any]:
    piece = facts.pieces[token]
    return {
        "id": token,
        "token": piece.decode(errors="replace") if piece else facts.names[token],
        "logprob": finite(logprob),
        "bytes": list(piece) if piece else None,
    }


# --- completions' ---------------------------------------------------------------------------------


@dataclass(slots=True)
class TextLogprobs:
    """``logprobs`` of completions, which grow: four lists, an entry a token.

    Attributes:
        facts: Of the models.
        alternatives: How many are told of each token, the token itself left out.
        offset: Where in the whole text the next token begins, in characters.
    """

    facts: Facts
    alternatives: int
    offset: int = 0
    _tokens: list[str] = field(default_factory=list)
    _logprobs: list[float | None] = field(default_factory=list)
    _top: list[dict[str, float] | None] = field(default_factory=list)
    _offsets: list[int] = field(default_factory=list)

    def add(self, token: int, logprob: float | None, top: Mapping[int, float]) -> None:
        """A token, with the most probable ones at its place; a logprob of None is not known."""
        self._tokens.append(self.facts.name_of(token))
        self._logprobs.append(None if logprob is None else finite(logprob))
        self._top.append(None if logprob is None else self._told(token, logprob, top))
        self._offsets.append(self.offset)
        self.offset += len(self.facts.text_of(token))

    def add_all(self, tokens: Iterable[TokenInfo]) -> None:
        """The tokens of an answer."""
        for token in tokens:
            self.add(token.id, token.logprob, token.top_logprobs)

    def _told(self, token: int, logprob: float, top: Mapping[int, float]) -> dict[str, float]:
        told: dict[str, float] = {}
        for other, value in _agreeing(token, logprob, top):
            # The most probable of those that are spelled alike.
            told.setdefault(self.facts.name_of(other), finite(value))
        told.setdefault(self.facts.name_of(token), finite(logprob))
        return told

    def take(self) -> dict[str, Any]:
        """What was added since the last call."""
        told = {
            "tokens": self._tokens,
            "token_logprobs": self._logprobs,
            "top_logprobs": self._top if self.alternatives else None,
            "text_offset": self._offsets,
        }
        self._tokens, self._logprobs, self._top, self._offsets = [], [], [], []
        return told
