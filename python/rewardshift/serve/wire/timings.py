"""llama-server's ``timings``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rewardshift.results import Completion
    from rewardshift.serve.job import Times


def timings_of(times: Times, prompt_tokens: int, generated: int) -> dict[str, Any]:
    """Of an answer so far, by the clock: waiting for a place counts as reading the prompt.

    Args:
        times: Of its choice.
        prompt_tokens: Of its prompt.
        generated: Tokens of it.
    """
    first = times.asked if times.first is None else times.first
    last = first if times.last is None else times.last
    return {
        **_pace("prompt", prompt_tokens, prompt_tokens, 1000 * (first - times.asked)),
        **_pace("predicted", generated, max(generated - 1, 0), 1000 * (last - first)),
    }


def final_timings(times: Times, completion: Completion) -> dict[str, Any]:
    """Of a whole answer, with its drafts."""
    told = timings_of(times, completion.prompt_tokens, len(completion.steps))
    statistics = completion.statistics
    if statistics.drafted:
        told |= {"draft_n": statistics.drafted, "draft_n_accepted": statistics.accepted}
    return told


def _pace(name: str, tokens: int, timed: int, milliseconds: float) -> dict[str, Any]:
    """As llama-server has it: 0 where nothing was timed, as nothing is after a first token."""
    spent = round(milliseconds, 3)
    return {
        f"{name}_n": tokens,
        f"{name}_ms": spent,
        f"{name}_per_token_ms": spent / timed if timed else 0.0,
        f"{name}_per_second": 1000 * timed / spent if spent > 0 else 0.0,
    }
