"""Calls of tools in OpenAI's shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rewardshift.serve.errors import wrong
from rewardshift.serve.tools import CallStart, ContentDelta
from rewardshift.serve.tools.use import ToolUse

from .forms import form_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.serve.facts import Facts
    from rewardshift.serve.tools import Event, ToolParser

    from .fields import SamplingFields


@dataclass(slots=True)
class MadeCall:
    """A call as far as it is known."""

    id: str
    name: str
    arguments: str = ""

    def as_chat(self) -> dict[str, Any]:
        """As chat completions have it."""
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        }


class AnswerReader:
    """Splits the text of one answer into content and calls.

    Attributes:
        content: All of it so far.
        calls: Likewise.
    """

    def __init__(self, parser: ToolParser | None) -> None:
        """Reads with a parser; without one all is content."""
        self._parser = parser
        self.content = ""
        self.calls: list[MadeCall] = []

    def read(self, text: str, *, is_last: bool) -> list[Event]:
        """What is known with this text.

        Args:
            text: What follows the text before.
            is_last: Whether nothing follows.
        """
        if self._parser is None:
            events: list[Event] = [ContentDelta(text)] if text else []
        else:
            events = self._parser.feed(text)
            events += self._parser.finish() if is_last else []
        for event in events:
            if isinstance(event, ContentDelta):
                self.content += event.text
            elif isinstance(event, CallStart):
                self.calls.append(MadeCall(event.id, event.name))
            else:
                self.calls[event.index].arguments += event.text
        return events

    def delta(self, text: str) -> dict[str, Any]:
        """What is known with this text, as a delta of chat completions; empty if nothing is."""
        return _delta(self.read(text, is_last=False))

    def rest(self) -> dict[str, Any]:
        """What is known as nothing follows."""
        return _delta(self.read("", is_last=True))

    @property
    def has_called(self) -> bool:
        """Whether there is any call."""
        return bool(self.calls)

    def message(self) -> dict[str, Any]:
        """A chat completion's message."""
        said = {"role": "assistant", "content": self.content, "refusal": None}
        if not self.calls:
            return said
        calls = [call.as_chat() for call in self.calls]
        return {**said, "content": self.content or None, "tool_calls": calls}


def _delta(events: Sequence[Event]) -> dict[str, Any]:
    """All of it in one: each call, or what is new of it, once."""
    delta: dict[str, Any] = {}
    calls: dict[int, dict[str, Any]] = {}
    for event in events:
        if isinstance(event, ContentDelta):
            delta["content"] = delta.get("content", "") + event.text
        elif isinstance(event, CallStart):
            calls[event.index] = {"index": event.index, **MadeCall(event.id, event.name).as_chat()}
        else:
            call = calls.setdefault(
                event.index, {"index": event.index, "function": {"arguments": ""}}
            )
            call["function"]["arguments"] += event.text
    return delta | ({"tool_calls": list(calls.values())} if calls else {})


def tool_use_of(
    fields: SamplingFields, tools: object, choice: object, parallel: object, facts: Facts
) -> ToolUse:
    """What a request's answers may call.

    Args:
        fields: The request, for the form that it asks for.
        tools: As OpenAI's chat completions have them.
        choice: Their ``tool_choice``.
        parallel: Their ``parallel_tool_calls``.
        facts: Of the models.

    Raises:
        ApiError: For what cannot be.
    """
    try:
        use = ToolUse.of(facts.skill, tools, choice, parallel)
    except (TypeError, ValueError) as error:
        raise wrong(str(error), "tools") from error
    if use.offer is not None and use.offer.is_must and form_of(fields):
        raise wrong("an answer that must call a tool can have no other form", "tool_choice")
    return use
