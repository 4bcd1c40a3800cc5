"""Writes a line, and counts, of every request: whatever becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardshift.serve.record import Record, begin

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Recorder:
    """Keeps a ``Record`` of each request; goes around all else."""

    def __init__(self, app: ASGIApp, *, ended: Callable[[Record], None]) -> None:
        """Around an application.

        Args:
            app: The application.
            ended: Is given each record at the request's end.
        """
        self._app = app
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = Record(scope["method"], scope["path"])
        begin(record)

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", record.id.encode())]
                message["headers"] = headers
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            record.write()
            self._ended(record)
