"""Server-sent events."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from rewardshift.files.json_values import plain

from .connection import unless_gone
from .errors import GONE, ClientGoneError, api_error_of
from .record import current

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from starlette.types import Receive, Scope, Send

_SILENCE = b": keep-alive\n\n"

DONE = "[DONE]"
"""What ends a stream of OpenAI's."""

Event = tuple[str | None, "dict[str, Any] | str"]
"""Its name, if it has one, and its data."""


class EventStream(Response):
    """Sends events as they come; lets go of their source at once when the client leaves.

    An error in the middle is an event as well, the last one: ``data: {"error": {...}}``.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncGenerator[Event, None],
        *,
        let_go: Callable[[], None],
        keep_alive: float | None,
    ) -> None:
        """Of a source.

        Args:
            events: The source, an async generator.
            let_go: Of what it takes events from. The source cannot do that itself: one that has not
                begun knows nothing of being closed.
            keep_alive: Seconds of silence after which a comment is sent; None sends none.
        """
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events
        self._let_go = let_go
        self._keep_alive = keep_alive

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """As ASGI has it."""
        try:
            await unless_gone(receive, self._send_all(send))
        except ClientGoneError:
            current().error = GONE
        finally:
            self._let_go()

    async def _send_all(self, send: Send) -> None:
        await send(
            {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        )
        async with aclosing(self._events), aclosing(self._events_and_silence()) as sent:
            async for event in sent:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events_and_silence(self) -> AsyncGenerator[bytes, None]:
        source = (
            self._events
            if self._keep_alive is None
            else _with_silence(self._events, self._keep_alive)
        )
        try:
            async with aclosing(source):
                async for event in source:
                    yield _SILENCE if event is None else encoded(event)
        except Exception as raised:  # noqa: BLE001 - it is the client's
            error = api_error_of(raised)
            current().error = error.kind
            yield encoded((None, error.as_object()))


async def _with_silence(
    events: AsyncGenerator[Event, None], seconds: float
) -> AsyncGenerator[Event | None, None]:
    """The events, and None for each time that none came for so long."""
    coming: asyncio.Future[Event] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            await asyncio.wait({coming}, timeout=seconds)
            if not coming.done():
                yield None
                continue
            try:
                event = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield event
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)


def encoded(event: Event) -> bytes:
    """An event as it is sent: in ASCII, as some clients take U+2028 for the end of a line."""
    name, data = event
    text = data if isinstance(data, str) else _as_json(data)
    named = "" if name is None else f"event: {name}\n"
    return f"{named}data: {text}\n\n".encode()


def _as_json(data: dict[str, Any]) -> str:
    try:
        return json.dumps(data, allow_nan=False)
    except (TypeError, ValueError):  # what is rare: numbers that JSON has not, and our own results
        return json.dumps(plain(data))
