"""Calls of tools in OpenAI's shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rewardshift.serve.tools import CallStart, ContentDelta

if TYPE_CHECKING:
    from rewardshift.serve.tools import Event, ToolParser


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

    def deltas(self, text: str, *, is_last: bool) -> list[dict[str, Any]]:
        """The same as the deltas of chat completions."""
        return [_delta(event) for event in self.read(text, is_last=is_last)]

    def message(self) -> dict[str, Any]:
        """A chat completion's message."""
        said = {"role": "assistant", "content": self.content, "refusal": None}
        if not self.calls:
            return said
        calls = [call.as_chat() for call in self.calls]
        return {**said, "content": self.content or None, "tool_calls": calls}


def _delta(event: Event) -> dict[str, Any]:
    if isinstance(event, ContentDelta):
        return {"content": event.text}
    if isinstance(event, CallStart):
        begun = MadeCall(event.id, event.name).as_chat()
        return {"tool_calls": [{"index": event.index, **begun}]}
    return {"tool_calls": [{"index": event.index, "function": {"arguments": event.text}}]}
