"""What only answers of ours have: the ``rewardshift`` objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardshift.files.json_values import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rewardshift.results import Completion, TokenInfo
    from rewardshift.serve.facts import Facts


def tokens_told(tokens: Iterable[TokenInfo], facts: Facts) -> list[dict[str, Any]]:
    """One entry a token, with the opinions that led to it."""
    return [
        {
            "id": token.id,
            "text": facts.text_of(token.id),
            "origin": token.origin,
            "logprob": token.logprob,
            "target_logprob": token.target_logprob,
            "draft_logprob": token.draft_logprob,
            "reference_logprob": token.reference_logprob,
            "shifts": token.shifts,
            "log_z": token.log_z,
            "top": [
                {"id": other, "text": facts.text_of(other), "logprob": logprob}
                for other, logprob in token.top_logprobs.items()
            ],
        }
        for token in tokens
    ]


def summary(completion: Completion) -> dict[str, Any]:
    """What decoding an answer took, and what the shifts say of it."""
    s = completion.statistics
    seconds = {
        "target": s.seconds.target,
        "draft": s.seconds.draft,
        "reference": s.seconds.reference,
        "own": s.seconds.own,
        "total": s.seconds.total,
        "readers": s.seconds.readers,
    }
    told = plain(
        {
            "seed": completion.seed,
            "substream": completion.substream,
            "z": s.z,
            "tokens_per_round": s.tokens_per_round,
            "acceptance": s.acceptance,
            "drafted": s.drafted,
            "accepted": s.accepted,
            "rounds": s.rounds,
            "implicit_reward": {name: shift.implicit_reward for name, shift in s.shifts.items()},
            "seconds": seconds,
            "tokens_per_second": s.tokens_per_second,
            "sources": s.sources,
        }
    )
    assert isinstance(told, dict)  # noqa: S101 - plain() keeps what a mapping is
    return told
