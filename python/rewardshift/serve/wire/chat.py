"""Chat completions: what is asked, and the shapes of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardshift.serve.errors import wrong

from .fields import SamplingFields, alternatives
from .logprobs import chat_logprobs
from .shape import Shape, finish_reason
from .tool_calls import AnswerReader, tool_use_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.options import SamplingOptions
    from rewardshift.results import Chunk, Completion, TokenInfo
    from rewardshift.serve.facts import Facts
    from rewardshift.serve.job import Job
    from rewardshift.serve.settings import Settings
    from rewardshift.serve.tools.use import ToolUse

    from .identity import Identity


class ChatRequest(SamplingFields):
    """``POST /v1/chat/completions``."""

    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_from: list[int] | None = None

    def chat_options(self, settings: Settings, facts: Facts) -> SamplingOptions:
        """What the decoder is asked for.

        Raises:
            ApiError: For what cannot be.
        """
        if len(self.messages) > settings.max_messages:
            raise wrong(f"{settings.max_messages} messages at most", "messages")
        if (self.model_extra or {}).get("chat_template") is not None:
            raise wrong(
                "a request may not bring its own chat template: it is a program", "chat_template"
            )
        options = self.options(settings, facts)
        options["max_tokens"] = self.room(settings, facts, own=self.max_completion_tokens)
        given = self.n_probs if self.top_logprobs is None else self.top_logprobs
        options["top_logprobs"] = alternatives(given, "top_logprobs", settings)
        return {**options, **self.tool_use(facts).options}

    def tool_use(self, facts: Facts) -> ToolUse:
        """What the answer may call.

        Raises:
            ApiError: For what cannot be.
        """
        return tool_use_of(self, self.tools, self.tool_choice, self.parallel_tool_calls, facts)

    @property
    def wants_logprobs(self) -> bool:
        """Whether answers have ``logprobs``."""
        return bool(self.logprobs) or bool(self.n_probs)


class ChatShape(Shape[ChatRequest]):
    """The answers to one request."""

    kind = "chat.completion"
    kind_of_chunk = "chat.completion.chunk"

    def __init__(
        self,
        asked: ChatRequest,
        facts: Facts,
        identity: Identity,
        job: Job,
        prompt_tokens: Sequence[int],
    ) -> None:
        """For one request; the facts are those in which visible tokens have a text."""
        super().__init__(asked, facts, identity, job, prompt_tokens)
        tools = asked.tool_use(facts)
        self._readers = [AnswerReader(tools.parser()) for _ in range(job.choices)]

    def openings(self, choice: int) -> list[dict[str, Any]]:
        """Who speaks."""
        return [_choice(choice, {"role": "assistant", "content": ""}, None)]

    def pieces(self, choice: int, chunk: Chunk) -> list[dict[str, Any]]:
        """Without chunks that say nothing: of text that may be part of a call yet."""
        return [piece for piece in super().pieces(choice, chunk) if not _is_silent(piece)]

    def delta(self, choice: int, text: str, tokens: Sequence[TokenInfo]) -> dict[str, Any]:
        """A choice of a chunk: what is new of it."""
        delta = self._readers[choice].delta(text)
        return {**_choice(choice, delta, None), "logprobs": self._logprobs(tokens)}

    def last(self, choice: int, completion: Completion) -> dict[str, Any]:
        """A choice of its last chunk."""
        reader = self._readers[choice]
        delta = reader.rest()
        return _choice(choice, delta, finish_reason(completion, has_called=reader.has_called))

    def full(
        self, choice: int, completion: Completion, tokens: Sequence[TokenInfo]
    ) -> dict[str, Any]:
        """A choice of a whole answer."""
        reader = self._readers[choice]
        reader.read(completion.text, is_last=True)
        return {
            "index": choice,
            "message": reader.message(),
            "logprobs": self._logprobs(tokens),
            "finish_reason": finish_reason(completion, has_called=reader.has_called),
        }

    def _logprobs(self, tokens: Sequence[TokenInfo]) -> dict[str, Any] | None:
        return chat_logprobs(tokens, self.facts) if self.asked.wants_logprobs else None


_OF_ALL = {"index", "delta", "logprobs", "finish_reason"}
_OF_NEWS = {"timings", "prompt_progress"}


def _is_silent(piece: dict[str, Any]) -> bool:
    """Whether a chunk tells nothing new."""
    (choice,) = piece["choices"]
    told = choice["delta"] or choice["logprobs"] or choice["finish_reason"]
    return not told and choice.keys() == _OF_ALL and not piece.keys() & _OF_NEWS


def _choice(choice: int, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}
