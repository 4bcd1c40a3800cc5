"""Chat completions: what is asked, and the shapes of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from rewardshift.serve.errors import wrong

from .fields import SamplingFields, alternatives
from .logprobs import chat_logprobs
from .shape import Shape, finish_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.options import SamplingOptions
    from rewardshift.results import Completion, TokenInfo
    from rewardshift.serve.facts import Facts
    from rewardshift.serve.settings import Settings


class ChatRequest(SamplingFields):
    """``POST /v1/chat/completions``."""

    messages: list[dict[str, Any]]
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[dict[str, Any]] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_from: list[int] | None = Field(
        None, description="Token ids that the answer begins with; they are not repeated."
    )

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
        return options

    @property
    def wants_logprobs(self) -> bool:
        """Whether answers have ``logprobs``."""
        return bool(self.logprobs) or bool(self.n_probs)


class ChatShape(Shape[ChatRequest]):
    """The answers to one request."""

    kind = "chat.completion"
    kind_of_chunk = "chat.completion.chunk"

    def openings(self, choice: int) -> list[dict[str, Any]]:
        """Who speaks."""
        return [_choice(choice, {"role": "assistant", "content": ""}, None)]

    def delta(self, choice: int, text: str, tokens: Sequence[TokenInfo]) -> dict[str, Any]:
        """A choice of a chunk: what is new of it."""
        return {**_choice(choice, {"content": text}, None), "logprobs": self._logprobs(tokens)}

    def last(self, choice: int, completion: Completion) -> dict[str, Any]:
        """A choice of its last chunk."""
        return _choice(choice, {}, finish_reason(completion))

    def full(
        self, choice: int, completion: Completion, tokens: Sequence[TokenInfo]
    ) -> dict[str, Any]:
        """A choice of a whole answer."""
        return {
            "index": choice,
            "message": {"role": "assistant", "content": completion.text, "refusal": None},
            "logprobs": self._logprobs(tokens),
            "finish_reason": finish_reason(completion),
        }

    def _logprobs(self, tokens: Sequence[TokenInfo]) -> dict[str, Any] | None:
        return chat_logprobs(tokens, self.facts) if self.asked.wants_logprobs else None


def _choice(choice: int, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}
