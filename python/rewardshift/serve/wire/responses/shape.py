"""The events of a response, of which the last one has all of it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from rewardshift.serve.errors import api_error_of
from rewardshift.serve.tools import CallStart, ContentDelta
from rewardshift.serve.wire.extras import summary, tokens_told
from rewardshift.serve.wire.logprobs import chat_logprobs
from rewardshift.serve.wire.trail import Trail

from .output import CallItem, MessageItem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.results import Chunk, Completion, TokenInfo
    from rewardshift.serve.facts import Facts
    from rewardshift.serve.sse import Event
    from rewardshift.serve.tools import Event as ToolEvent
    from rewardshift.serve.wire.identity import Identity

    from .asked import ResponseRequest
    from .output import Item, Told


class ResponseShape:
    """The answer to one request, told as it grows."""

    def __init__(self, asked: ResponseRequest, facts: Facts, identity: Identity) -> None:
        """For one request.

        Args:
            asked: What it asks for.
            facts: Of the models, where what its tools make visible is text.
            identity: Of the answer.
        """
        self._asked = asked
        self._facts = facts
        self._identity = identity
        self._parser = asked.tool_use(facts).parser()
        self._trail = Trail(facts.pieces)
        self._items: list[Item] = []
        self._is_open = False  # the last of them
        self._number = 0

    def opening(self) -> list[Event]:
        """What comes before anything is known."""
        begun = {"response": self._response("in_progress")}
        return self._events([("response.created", begun), ("response.in_progress", begun)])

    def pieces(self, chunk: Chunk) -> list[Event]:
        """What is new; the last one has the whole response."""
        tokens = self._trail.take(chunk)
        told: list[Told] = []
        for event in self._read(chunk):
            told += self._told(event, tokens)
            if isinstance(event, ContentDelta):
                tokens = []
        if chunk.completion is not None:
            told += self._ending(chunk.completion)
        return self._events(told)

    def failed(self, error: Exception) -> list[Event]:
        """How it ends where it cannot go on."""
        found = api_error_of(error)
        code = found.code or found.type
        said = {"code": code, "message": found.message}
        response = self._response("failed") | {"error": said}
        return self._events(
            [
                ("error", {**said, "param": found.param}),
                ("response.failed", {"response": response}),
            ]
        )

    # --- how it is done -------------------------------------------------------------------------

    def _read(self, chunk: Chunk) -> list[ToolEvent]:
        if self._parser is None:
            return [ContentDelta(chunk.text)] if chunk.text else []
        events = self._parser.feed(chunk.text)
        return events + (self._parser.finish() if chunk.is_last else [])

    def _told(self, event: ToolEvent, tokens: Sequence[TokenInfo]) -> list[Told]:
        told: list[Told] = []
        if isinstance(event, ContentDelta):
            message, told = self._message()
            return told + message.grown(event.text, self._logprobs(tokens), self._extras(tokens))
        if isinstance(event, CallStart):
            told = self._close("completed")
            item = CallItem(_id("fc"), len(self._items), call_id=event.id, name=event.name)
            return told + self._open(item)
        last = self._items[-1]
        return last.grown(event.text) if isinstance(last, CallItem) else told

    def _message(self) -> tuple[MessageItem, list[Told]]:
        """The message that is open, with what tells that it is."""
        last = self._items[-1] if self._is_open else None
        if isinstance(last, MessageItem):
            return last, []
        told = self._close("completed")
        item = MessageItem(_id("msg"), len(self._items))
        return item, told + self._open(item)

    def _open(self, item: Item) -> list[Told]:
        self._items.append(item)
        self._is_open = True
        return item.opened()

    def _close(self, status: str) -> list[Told]:
        if not self._is_open:
            return []
        self._is_open = False
        return self._items[-1].closed(status)

    def _ending(self, completion: Completion) -> list[Told]:
        is_cut = completion.finish_reason == "length"
        status = "incomplete" if is_cut else "completed"
        told = [] if self._items else self._message()[1]
        told += self._close(status)
        response = self._response(status) | {
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "usage": _usage(completion),
            "rewardshift": summary(completion),
        }
        if self._asked.return_token_info:
            response["rewardshift"]["tokens"] = tokens_told(completion.steps, self._facts)
        return [*told, (f"response.{status}", {"response": response})]

    def _logprobs(self, tokens: Sequence[TokenInfo]) -> list[dict[str, Any]]:
        if not self._asked.wants_logprobs:
            return []
        content: list[dict[str, Any]] = chat_logprobs(tokens, self._facts)["content"]
        return content

    def _extras(self, tokens: Sequence[TokenInfo]) -> dict[str, Any]:
        if not self._asked.return_token_info:
            return {}
        return {"rewardshift": {"tokens": tokens_told(tokens, self._facts)}}

    def _events(self, told: list[Told]) -> list[Event]:
        events: list[Event] = []
        for kind, said in told:
            events.append((kind, {"type": kind, "sequence_number": self._number, **said}))
            self._number += 1
        return events

    def _response(self, status: str) -> dict[str, Any]:
        """The whole object, as OpenAI's clients expect it."""
        asked = self._asked
        form = None if asked.text is None else asked.text.format
        return {
            "id": f"{self._identity.prefix}_{self._identity.number}",
            "object": "response",
            "created_at": self._identity.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": asked.instructions,
            "max_output_tokens": asked.max_output_tokens,
            "metadata": asked.metadata or {},
            "model": self._identity.model,
            "output": [item.as_object() for item in self._items],
            "parallel_tool_calls": asked.parallel_tool_calls is not False,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "temperature": asked.temperature,
            "text": {"format": form or {"type": "text"}},
            "tool_choice": asked.tool_choice or "auto",
            "tools": asked.tools or [],
            "top_logprobs": asked.top_logprobs or 0,
            "top_p": asked.top_p,
            "truncation": "disabled",
            "usage": None,
            "user": asked.user,
        }


def _usage(completion: Completion) -> dict[str, Any]:
    generated = len(completion.steps)
    return {
        "input_tokens": completion.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0},  # as for who pays: nobody
        "output_tokens": generated,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": completion.prompt_tokens + generated,
    }


def _id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"
