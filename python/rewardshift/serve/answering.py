"""From a job's chunks to an answer, whole or streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from .record import current
from .sse import DONE
from .wire.trail import Trail

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from rewardshift.results import Chunk, Completion, TokenInfo

    from .facts import Facts
    from .job import Job
    from .sse import Event


class Streamed(Protocol):
    """The shapes of a streamed answer."""

    def opening(self, choice: int) -> list[dict[str, Any]]:
        """What a choice begins with."""

    def pieces(self, choice: int, chunk: Chunk) -> list[dict[str, Any]]:
        """What is new of a choice."""

    def ending(self, completions: Sequence[Completion]) -> dict[str, Any] | None:
        """What comes after all of them."""


async def streamed(
    job: Job, shape: Streamed, *, done: str | None = DONE
) -> AsyncGenerator[Event, None]:
    """The events of an answer.

    Args:
        job: What answers.
        shape: Of the answer.
        done: What ends the stream, if anything does.
    """
    completions: dict[int, Completion] = {}
    for choice in range(job.choices):
        for piece in shape.opening(choice):
            yield None, piece
    async for choice, chunk in job:
        for piece in shape.pieces(choice, chunk):
            yield None, piece
        if chunk.completion is not None:
            completions[choice] = chunk.completion
            current().note_answer(chunk.completion, job.times[choice])
    ending = shape.ending([completions[choice] for choice in sorted(completions)])
    if ending is not None:
        yield None, ending
    if done is not None:
        yield None, done


async def collected(job: Job, facts: Facts) -> tuple[list[Completion], list[list[TokenInfo]]]:
    """The completions of all choices, and of each the tokens that its text is made of."""
    completions: dict[int, Completion] = {}
    trails = [Trail(facts.pieces) for _ in range(job.choices)]
    tokens: list[list[TokenInfo]] = [[] for _ in trails]
    try:
        async for choice, chunk in job:
            tokens[choice] += trails[choice].take(chunk)
            if chunk.completion is not None:
                completions[choice] = chunk.completion
                current().note_answer(chunk.completion, job.times[choice])
    finally:
        job.cancel()
    return [completions[choice] for choice in sorted(completions)], tokens
