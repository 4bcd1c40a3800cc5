"""Log-probabilities in OpenAI's two shapes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rewardshift.results import TokenInfo
    from rewardshift.serve.facts import Facts

_NEVER = -9999.0
"""What OpenAI's answers have in place of -inf, which JSON has not."""


def finite(logprob: float) -> float:
    """A log-probability as JSON can have it."""
    return logprob if math.isfinite(logprob) else _NEVER


def chat_logprobs(tokens: Iterable[TokenInfo], facts: Facts) -> list[dict[str, Any]]:
    """``logprobs.content`` of chat completions."""
    return [
        {
            **_entry(token.id, token.logprob, facts),
            "top_logprobs": [
                _entry(other, logprob, facts) for other, logprob in token.top_logprobs.items()
            ],
        }
        for token in tokens
    ]


def _entry(token: int, logprob: float, facts: Facts) -> dict[str, Any]:
    piece = facts.pieces[token]
    return {
        "token": piece.decode(errors="replace"),
        "logprob": finite(logprob),
        "bytes": list(piece),
    }
