"""One measurement: some prompts, decoded in one way."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from time import perf_counter
from typing import TYPE_CHECKING

from rewardshift.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.options import SamplingOptions
    from rewardshift.results import Completion


@dataclass(frozen=True, slots=True)
class Task:
    """A prompt, as token ids: what the target sees, and what the draft sees if that differs.

    With several shifts that is what each one's draft sees, by the shift's name.

    Of tasks decoded together, either all have a ``draft_prompt`` or none has.
    """

    prompt: list[int]
    draft_prompt: list[int] | Mapping[str, list[int]] | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What several responses cost together.

    Attributes:
        tokens: Generated, all of them.
        seconds: Wall time of the whole, prompts included, as the caller's clock saw it.
        later_tokens: Those after each response's first chunk.
        later_seconds: Wall time from each response's first chunk to its end.
        rounds: Evaluations of the target that emitted tokens.
        drafted: Drafted tokens.
        accepted: Of those, the accepted ones.
        target, draft, reference: Seconds in each model.
        own: Seconds in the core's own code.
    """

    tokens: int
    seconds: float
    later_tokens: int
    later_seconds: float
    rounds: int
    drafted: int
    accepted: int
    target: float
    draft: float
    reference: float
    own: float

    @property
    def throughput(self) -> float:
        """Tokens per second of all wall time, prompts included."""
        return _quotient(self.tokens, self.seconds)

    @property
    def speed(self) -> float:
        """Tokens per second after the first chunk: decoding without the prompt's evaluation."""
        return _quotient(self.later_tokens, self.later_seconds)

    @property
    def model_share(self) -> float:
        """Time in the models over wall time."""
        return _quotient(self.target + self.draft + self.reference, self.seconds)

    @property
    def acceptance(self) -> float:
        """Accepted share of the drafted tokens; NaN if nothing was drafted."""
        return _quotient(self.accepted, self.drafted)

    @property
    def drafted_per_round(self) -> float:
        """The mean draft length."""
        return _quotient(self.drafted, self.rounds)

    @property
    def tokens_per_round(self) -> float:
        """Emitted per evaluation of the target."""
        return _quotient(self.tokens, self.rounds)

    @classmethod
    def total(cls, parts: Iterable[Sample]) -> Sample:
        """Of responses one after another."""
        rows = list(parts)
        return cls(*(sum(getattr(row, f.name) for row in rows) for f in fields(cls)))

    @classmethod
    def of(
        cls, completions: Sequence[Completion], seconds: float, later: tuple[int, float]
    ) -> Sample:
        """Of responses that took ``seconds`` together, and their ``later`` tokens and seconds."""
        s = [completion.statistics for completion in completions]
        return cls(
            tokens=sum(x.tokens for x in s),
            seconds=seconds,
            later_tokens=later[0],
            later_seconds=later[1],
            rounds=sum(x.rounds for x in s),
            drafted=sum(x.drafted for x in s),
            accepted=sum(x.accepted for x in s),
            target=math.fsum(x.seconds.target for x in s),
            draft=math.fsum(x.seconds.draft for x in s),
            reference=math.fsum(x.seconds.reference for x in s),
            own=math.fsum(x.seconds.own for x in s),
        )


def one_by_one(decoder: Decoder, tasks: Sequence[Task], options: SamplingOptions) -> Sample:
    """Decodes one response after another."""
    return Sample.total(_one(decoder, task, options) for task in tasks)


def together(decoder: Decoder, tasks: Sequence[Task], options: SamplingOptions) -> Sample:
    """Decodes all responses at once; prompts and tokens overlap, so all tokens are "later"."""
    drafts = [task.draft_prompt for task in tasks if task.draft_prompt is not None]
    start = perf_counter()
    completions = decoder.generate_batch(
        [task.prompt for task in tasks], draft_prompts=drafts or None, **options
    )
    seconds = perf_counter() - start
    tokens = sum(completion.statistics.tokens for completion in completions)
    return Sample.of(completions, seconds, (tokens, seconds))


def _one(decoder: Decoder, task: Task, options: SamplingOptions) -> Sample:
    start = perf_counter()
    first, early = math.nan, 0
    completion: Completion | None = None
    with decoder.stream(task.prompt, draft_prompt=task.draft_prompt, **options) as chunks:
        for chunk in chunks:
            if not early and chunk.tokens:
                first, early = perf_counter(), len(chunk.tokens)
            completion = chunk.completion
    end = perf_counter()
    if completion is None or not early:
        raise Error("a response without tokens cannot be measured: ask for more of them")
    later = completion.statistics.tokens - early, end - first
    return Sample.of([completion], end - start, later)


def _quotient(above: float, below: float) -> float:
    return above / below if below else math.nan
