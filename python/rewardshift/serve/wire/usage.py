"""How many tokens a request took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rewardshift.results import Completion


def usage_of(completions: Iterable[Completion], prompt_tokens: int) -> dict[str, Any]:
    """OpenAI's ``usage`` of all choices together.

    Args:
        completions: One of each choice.
        prompt_tokens: Of all prompts, each counted once however many answers it has.
    """
    done = list(completions)
    generated = sum(len(completion.steps) for completion in done)
    accepted = sum(completion.statistics.accepted for completion in done)
    drafted = sum(completion.statistics.drafted for completion in done)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": generated,
        "total_tokens": prompt_tokens + generated,
        "completion_tokens_details": {
            "accepted_prediction_tokens": accepted,
            "rejected_prediction_tokens": drafted - accepted,
        },
    }
