"""What the answers of chat and of plain completions have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from rewardshift.serve.job import Times

from .extras import summary, tokens_told
from .fields import SamplingFields
from .timings import final_timings, timings_of
from .trail import Trail
from .usage import usage_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.results import Chunk, Completion, TokenInfo
    from rewardshift.serve.facts import Facts
    from rewardshift.serve.job import Job

    from .identity import Identity


Asked = TypeVar("Asked", bound=SamplingFields)


class Shape(ABC, Generic[Asked]):
    """The answer to one request, in chunks or whole.

    Attributes:
        kind: OpenAI's name of a whole answer.
        kind_of_chunk: And of its chunks.
    """

    kind: ClassVar[str]
    kind_of_chunk: ClassVar[str]

    def __init__(
        self,
        asked: Asked,
        facts: Facts,
        identity: Identity,
        job: Job,
        prompt_tokens: Sequence[int],
    ) -> None:
        """For one request.

        Args:
            asked: What it asks for.
            facts: Of the models.
            identity: Of the answer.
            job: What answers.
            prompt_tokens: Tokens of each prompt; each has as many choices.
        """
        self.asked = asked
        self.facts = facts
        self._identity = identity
        self._job = job
        self._prompt_tokens = prompt_tokens
        self._per_prompt = job.choices // len(prompt_tokens)
        self._trails = [Trail(facts.pieces) for _ in range(job.choices)]
        self._generated = [0] * job.choices

    # --- what differs -------------------------------------------------------------------------

    @abstractmethod
    def delta(self, choice: int, text: str, tokens: Sequence[TokenInfo]) -> dict[str, Any]:
        """A choice of a chunk: what is new of it."""

    @abstractmethod
    def last(self, choice: int, completion: Completion) -> dict[str, Any]:
        """A choice of its last chunk."""

    @abstractmethod
    def full(
        self, choice: int, completion: Completion, tokens: Sequence[TokenInfo]
    ) -> dict[str, Any]:
        """A choice of a whole answer, with the tokens that its text is made of."""

    @abstractmethod
    def openings(self, choice: int) -> list[dict[str, Any]]:
        """What comes before the first token of a choice."""

    # --- streamed -----------------------------------------------------------------------------

    def opening(self, choice: int) -> list[dict[str, Any]]:
        """The chunks that a choice begins with."""
        chunks = [self._chunk(told) for told in self.openings(choice)]
        if self.asked.return_progress:
            chunks.append(self._progress(choice, 0))
        return chunks

    def pieces(self, choice: int, chunk: Chunk) -> list[dict[str, Any]]:
        """The chunks that tell what is new of a choice; the last one says why it ended."""
        found = []
        if self.asked.return_progress and self._generated[choice] == 0 and chunk.tokens:
            found.append(self._progress(choice, self._prompt_of(choice)))
        self._generated[choice] += len(chunk.tokens)
        tokens = self._trails[choice].take(chunk)
        if chunk.text or tokens:
            told = self.delta(choice, chunk.text, tokens)
            if self.asked.return_token_info:
                told["rewardshift"] = {"tokens": tokens_told(tokens, self.facts)}
            if self.asked.return_tokens:
                told["tokens"] = [token.id for token in tokens]
            timings = self._timings_so_far(choice) if self.asked.timings_per_token else {}
            found.append({**self._chunk(told), **timings})
        if chunk.completion is not None:
            told = self.last(choice, chunk.completion)
            told["rewardshift"] = summary(chunk.completion)
            rest = self._trails[choice].rest()
            if self.asked.return_token_info:
                told["rewardshift"]["tokens"] = tokens_told(rest, self.facts)
            if self.asked.return_tokens:
                told["tokens"] = [token.id for token in rest]
            timings = final_timings(self._job.times[choice], chunk.completion)
            found.append({**self._chunk(told), "timings": timings})
        return found

    def ending(self, completions: Sequence[Completion]) -> dict[str, Any] | None:
        """The chunk about usage, where that was asked for."""
        if not self.asked.with_usage:
            return None
        return {**self._chunk(), "usage": self._usage(completions)}

    def _chunk(self, *choices: dict[str, Any]) -> dict[str, Any]:
        usage = {"usage": None} if self.asked.with_usage else {}
        return {**self._identity.head(self.kind_of_chunk), "choices": list(choices), **usage}

    def _progress(self, choice: int, processed: int) -> dict[str, Any]:
        """llama-server's word of how much of a prompt is read: here nothing, then all of it."""
        times = self._job.times[choice]
        since = times if processed else Times(times.asked)
        spent = 0.0 if since.first is None else since.first - since.asked
        progress = {
            "total": self._prompt_of(choice),
            "cache": None,
            "processed": processed,
            "time_ms": round(1000 * spent, 3),
        }
        told = {**self._chunk(self.delta(choice, "", ())), "prompt_progress": progress}
        if self.asked.timings_per_token:
            told["timings"] = timings_of(since, processed, 0)
        return told

    def _timings_so_far(self, choice: int) -> dict[str, Any]:
        times = self._job.times[choice]
        return {"timings": timings_of(times, self._prompt_of(choice), self._generated[choice])}

    def _prompt_of(self, choice: int) -> int:
        return self._prompt_tokens[choice // self._per_prompt]

    # --- whole --------------------------------------------------------------------------------

    def whole(
        self,
        completions: Sequence[Completion],
        tokens: Sequence[Sequence[TokenInfo]],
        chosen: Sequence[int] | None = None,
    ) -> dict[str, Any]:
        """The answer in one.

        Args:
            completions: One of each choice.
            tokens: Of each, those that its text is made of.
            chosen: Which are shown; None is all.
        """
        shown = range(len(completions)) if chosen is None else chosen
        choices = [
            self._with_extras(i, completions[i], self.full(i, completions[i], tokens[i]))
            for i in shown
        ]
        for index, choice in enumerate(choices):
            choice["index"] = index
        return {
            **self._identity.head(self.kind),
            "choices": choices,
            "usage": self._usage(completions),
            "timings": choices[0].pop("timings"),
            "rewardshift": choices[0]["rewardshift"],
        }

    def _with_extras(
        self, choice: int, completion: Completion, told: dict[str, Any]
    ) -> dict[str, Any]:
        extra = summary(completion)
        if self.asked.return_token_info:
            extra["tokens"] = tokens_told(completion.steps, self.facts)
        if self.asked.return_tokens:
            told["tokens"] = list(completion.tokens)
        timings = final_timings(self._job.times[choice], completion)
        return {**told, "rewardshift": extra, "timings": timings}

    def _usage(self, completions: Sequence[Completion]) -> dict[str, Any]:
        return usage_of(completions, sum(self._prompt_tokens))


def finish_reason(completion: Completion, *, has_called: bool = False) -> str:
    """OpenAI's word for why an answer ended."""
    if completion.finish_reason == "length":
        return "length"
    return "tool_calls" if has_called else "stop"
