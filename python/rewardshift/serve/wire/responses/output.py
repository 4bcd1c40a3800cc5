"""The items that a response is made of, and the events that tell how they grow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

Told = tuple[str, dict[str, Any]]
"""An event's type, and what it says."""


class Item(ABC):
    """One item of a response's output, while it grows.

    Attributes:
        id: Its id.
        index: Which item of the output it is.
        status: "in_progress", then "completed" or "incomplete".
    """

    def __init__(self, identity: str, index: int) -> None:
        """A new one."""
        self.id = identity
        self.index = index
        self.status = "in_progress"

    @abstractmethod
    def as_object(self) -> dict[str, Any]:
        """What it is so far."""

    def opened(self) -> list[Told]:
        """The events that it begins with."""
        return [("response.output_item.added", self._item())]

    def closed(self, status: str) -> list[Told]:
        """The events that it ends with."""
        self.status = status
        return [("response.output_item.done", self._item())]

    def place(self, **more: object) -> dict[str, Any]:
        """Where an event belongs, and what it says."""
        return {"item_id": self.id, "output_index": self.index, **more}

    def _item(self) -> dict[str, Any]:
        return {"output_index": self.index, "item": self.as_object()}


class MessageItem(Item):
    """Text."""

    def __init__(self, identity: str, index: int) -> None:
        """An empty one."""
        super().__init__(identity, index)
        self._text = ""
        self._logprobs: list[dict[str, Any]] = []
        self._has_part = False

    def as_object(self) -> dict[str, Any]:
        """What it is so far."""
        return {
            "id": self.id,
            "type": "message",
            "status": self.status,
            "role": "assistant",
            "content": [self._part()] if self._has_part else [],
        }

    def opened(self) -> list[Told]:
        """The events that it begins with."""
        added = super().opened()
        self._has_part = True
        return [*added, ("response.content_part.added", self.place(**self._in_part()))]

    def grown(
        self, text: str, logprobs: list[dict[str, Any]], extras: dict[str, Any]
    ) -> list[Told]:
        """More text, with what is told of its tokens."""
        self._text += text
        self._logprobs += logprobs
        said = self.place(content_index=0, delta=text, logprobs=logprobs, **extras)
        return [("response.output_text.delta", said)]

    def closed(self, status: str) -> list[Told]:
        """The events that it ends with."""
        whole = {"text": self._text, "logprobs": self._logprobs}
        return [
            ("response.output_text.done", self.place(content_index=0, **whole)),
            ("response.content_part.done", self.place(**self._in_part())),
            *super().closed(status),
        ]

    def _in_part(self) -> dict[str, Any]:
        return {"content_index": 0, "part": self._part()}

    def _part(self) -> dict[str, Any]:
        return {
            "type": "output_text",
            "text": self._text,
            "annotations": [],
            "logprobs": list(self._logprobs),
        }


class CallItem(Item):
    """A call of a function."""

    def __init__(self, identity: str, index: int, *, call_id: str, name: str) -> None:
        """One without arguments yet."""
        super().__init__(identity, index)
        self._call_id = call_id
        self._name = name
        self._arguments = ""

    def as_object(self) -> dict[str, Any]:
        """What it is so far."""
        return {
            "id": self.id,
            "type": "function_call",
            "status": self.status,
            "call_id": self._call_id,
            "name": self._name,
            "arguments": self._arguments,
        }

    def grown(self, text: str) -> list[Told]:
        """More of its arguments."""
        self._arguments += text
        return [("response.function_call_arguments.delta", self.place(delta=text))]

    def closed(self, status: str) -> list[Told]:
        """The events that it ends with."""
        whole = self.place(name=self._name, arguments=self._arguments)
        return [("response.function_call_arguments.done", whole), *super().closed(status)]
