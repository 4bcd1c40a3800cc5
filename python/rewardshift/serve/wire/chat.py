"""Chat completions: what is asked, and the shapes of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from rewardshift.serve.errors import wrong

from .extras import summary, tokens_told
from .fields import SamplingFields
from .logprobs import chat_logprobs
from .trail import Trail
from .usage import usage_of

if TYPE_CHECKING:
    from rewardshift.options import SamplingOptions
    from rewardshift.results import Chunk, Completion, TokenInfo
    from rewardshift.serve.facts import Facts
    from rewardshift.serve.settings import Settings

    from .identity import Identity


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
        options["top_logprobs"] = self._alternatives(settings)
        return options

    def _alternatives(self, settings: Settings) -> int:
        given = self.n_probs if self.top_logprobs is None else self.top_logprobs
        if given is not None and not 0 <= given <= settings.max_top_logprobs:
            raise wrong(
                f"top_logprobs must be between 0 and {settings.max_top_logprobs}, not {given}",
                "top_logprobs",
            )
        return given or 0

    @property
    def wants_logprobs(self) -> bool:
        """Whether answers have ``logprobs``."""
        return bool(self.logprobs) or bool(self.n_probs)


class ChatShape:
    """The answers to one request, as chunks and as a whole."""

    def __init__(self, asked: ChatRequest, facts: Facts, identity: Identity) -> None:
        """For one request."""
        self._asked = asked
        self._facts = facts
        self._identity = identity
        self._trails = [Trail(facts.pieces) for _ in range(asked.n or 1)]

    # --- streamed -----------------------------------------------------------------------------

    def opening(self, choice: int) -> dict[str, Any]:
        """The first chunk of a choice, which says who speaks."""
        return self._chunk(_choice(choice, {"role": "assistant", "content": ""}, None))

    def pieces(self, choice: int, chunk: Chunk) -> list[dict[str, Any]]:
        """The chunks that tell what is new of a choice; the last one says why it ended."""
        found = []
        trail = self._trails[choice]
        tokens = trail.take(chunk)
        if chunk.text or tokens:
            told = _choice(choice, {"content": chunk.text}, None)
            found.append(self._chunk(self._with_tokens(told, tokens)))
        if chunk.completion is not None:
            told = _choice(choice, {}, finish_reason(chunk.completion))
            told["rewardshift"] = summary(chunk.completion)
            if self._asked.return_token_info:
                told["rewardshift"]["tokens"] = tokens_told(trail.rest(), self._facts)
            found.append(self._chunk(told))
        return found

    def ending(self, completions: list[Completion]) -> dict[str, Any] | None:
        """The chunk about usage, where that was asked for."""
        if not self._asked.with_usage:
            return None
        usage = usage_of(completions, completions[0].prompt_tokens)
        return {**self._chunk(), "usage": usage}

    def _chunk(self, *choices: dict[str, Any]) -> dict[str, Any]:
        head = self._identity.head("chat.completion.chunk")
        usage = {"usage": None} if self._asked.with_usage else {}
        return {**head, "choices": list(choices), **usage}

    def _with_tokens(self, told: dict[str, Any], tokens: list[TokenInfo]) -> dict[str, Any]:
        if self._asked.wants_logprobs:
            content = chat_logprobs(tokens, self._facts)
            told["logprobs"] = {"content": content, "refusal": None}
        if self._asked.return_token_info:
            told["rewardshift"] = {"tokens": tokens_told(tokens, self._facts)}
        return told

    # --- whole --------------------------------------------------------------------------------

    def whole(self, completions: list[Completion], tokens: list[list[TokenInfo]]) -> dict[str, Any]:
        """The answer in one.

        Args:
            completions: One of each choice.
            tokens: Of each, those that its text is made of.
        """
        choices = [
            self._whole_choice(choice, completion, own)
            for choice, (completion, own) in enumerate(zip(completions, tokens, strict=True))
        ]
        return {
            **self._identity.head("chat.completion"),
            "choices": choices,
            "usage": usage_of(completions, completions[0].prompt_tokens),
            "rewardshift": choices[0]["rewardshift"],
        }

    def _whole_choice(
        self, choice: int, completion: Completion, tokens: list[TokenInfo]
    ) -> dict[str, Any]:
        told = {
            "index": choice,
            "message": {"role": "assistant", "content": completion.text, "refusal": None},
            "logprobs": None,
            "finish_reason": finish_reason(completion),
        }
        if self._asked.wants_logprobs:
            told["logprobs"] = {"content": chat_logprobs(tokens, self._facts), "refusal": None}
        extra = summary(completion)
        if self._asked.return_token_info:
            extra["tokens"] = tokens_told(completion.steps, self._facts)
        return {**told, "rewardshift": extra}


def _choice(choice: int, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    return {"index": choice, "delta": delta, "logprobs": None, "finish_reason": finish}


def finish_reason(completion: Completion) -> str:
    """OpenAI's word for why an answer ended."""
    return "length" if completion.finish_reason == "length" else "stop"
