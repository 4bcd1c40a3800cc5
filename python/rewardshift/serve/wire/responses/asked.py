"""What ``POST /v1/responses`` is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from rewardshift.serve.errors import wrong
from rewardshift.serve.wire.base import Fields
from rewardshift.serve.wire.fields import SamplingFields, alternatives
from rewardshift.serve.wire.tool_calls import tool_use_of

from .items import messages_of

if TYPE_CHECKING:
    from typing_extensions import Self

    from rewardshift.options import SamplingOptions
    from rewardshift.serve.facts import Facts
    from rewardshift.serve.settings import Settings
    from rewardshift.serve.tools.use import ToolUse

_LOGPROBS = "message.output_text.logprobs"


class TextOptions(Fields):
    """The form of the text."""

    format: dict[str, Any] | None = None
    verbosity: str | None = None


class ResponseRequest(SamplingFields):
    """``POST /v1/responses``. Nothing is stored: each request brings its whole conversation."""

    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    include: list[str] | None = None
    top_logprobs: int | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    background: bool | None = None
    store: bool | None = None
    metadata: dict[str, Any] | None = None
    reasoning: dict[str, Any] | None = None
    truncation: str | None = None
    user: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _read_format(self) -> Self:
        """The form is said elsewhere than in chat completions, and flatter."""
        form = None if self.text is None else self.text.format
        if form is not None and form.get("type") == "json_schema":
            self.response_format = {"type": "json_schema", "json_schema": form}
        elif form is not None:
            self.response_format = form
        return self

    def messages(self, settings: Settings) -> list[dict[str, Any]]:
        """The conversation.

        Raises:
            ApiError: For what cannot be read.
        """
        messages = messages_of(self.input, self.instructions)
        if len(messages) > settings.max_messages:
            raise wrong(f"{settings.max_messages} messages at most", "input")
        return messages

    def response_options(self, settings: Settings, facts: Facts) -> SamplingOptions:
        """What the decoder is asked for.

        Raises:
            ApiError: For what cannot be.
        """
        self._require_possible()
        options = self.options(settings, facts)
        options["max_tokens"] = self.room(settings, facts, own=self.max_output_tokens)
        options["top_logprobs"] = alternatives(self.top_logprobs, "top_logprobs", settings)
        return {**options, **self.tool_use(facts).options}

    def tool_use(self, facts: Facts) -> ToolUse:
        """What the answer may call.

        Raises:
            ApiError: For what cannot be.
        """
        tools = None if self.tools is None else [_nested(tool) for tool in self.tools]
        return tool_use_of(self, tools, self.tool_choice, self.parallel_tool_calls, facts)

    @property
    def wants_logprobs(self) -> bool:
        """Whether texts have log-probabilities."""
        return _LOGPROBS in (self.include or [])

    def _require_possible(self) -> None:
        if self.previous_response_id is not None or self.conversation is not None:
            name = "conversation" if self.previous_response_id is None else "previous_response_id"
            raise wrong("this server keeps no responses: send the whole conversation", name)
        if self.background:
            raise wrong("this server keeps no responses to fetch later", "background")
        if self.n not in (None, 1):
            raise wrong("a response has one answer", "n")


def _nested(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as chat completions, and templates, have it."""
    if tool.get("type") != "function" or "function" in tool:
        return tool
    names = ("name", "description", "parameters", "strict")
    return {"type": "function", "function": {name: tool[name] for name in names if name in tool}}
