"""One request to an ASGI application, whose client may leave, or stop reading, at any moment."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

SECONDS = 10
"""That anything may take; only what hangs takes them."""


class Exchange:
    """A request under way.

    Attributes:
        headers: Of the answer, once its status is known.
    """

    def __init__(
        self,
        app: FastAPI,
        path: str,
        body: dict[str, Any] | bytes | None = None,
        *,
        headers: dict[str, str] | None = None,
        method: str | None = None,
        is_read: bool = True,
        seconds: float = SECONDS,
    ) -> None:
        """Asks at once.

        Args:
            app: The application.
            path: Of the request.
            body: Of it.
            headers: Of it.
            method: GET without a body, else POST, unless given.
            is_read: Whether the client reads the answer; see ``read_on``.
            seconds: That anything may take.
        """
        self._seconds = seconds
        sent = json.dumps(body).encode() if isinstance(body, dict) else body
        given = {"host": "localhost", **(headers or {})}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method or ("GET" if body is None else "POST"),
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "server": ("localhost", 80),
            "client": ("127.0.0.1", 9),
            "headers": [(k.lower().encode(), v.encode()) for k, v in given.items()],
            "state": {},
        }
        self._parts = [{"type": "http.request", "body": sent or b"", "more_body": False}]
        self._gone = asyncio.Event()
        self._reads = asyncio.Event()
        if is_read:
            self._reads.set()
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.headers: dict[str, str] = {}
        self._task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self._parts:
            return self._parts.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self._reads.wait()
        if message["type"] == "http.response.start":
            self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            self._status.set_result(message["status"])
            return
        if message.get("body"):
            self._chunks.put_nowait(message["body"])
        if not message.get("more_body", False):
            self._chunks.put_nowait(None)

    def leave(self) -> None:
        """Closes the connection."""
        self._gone.set()

    def read_on(self) -> None:
        """Reads what has come, and what will."""
        self._reads.set()

    async def status(self) -> int:
        """Of the answer."""
        return await asyncio.wait_for(asyncio.shield(self._status), self._seconds)

    async def chunk(self) -> bytes | None:
        """The next piece of the answer; None at its end."""
        return await asyncio.wait_for(self._chunks.get(), self._seconds)

    async def body(self) -> bytes:
        """All that is left of it."""
        parts = []
        while (part := await self.chunk()) is not None:
            parts.append(part)
        return b"".join(parts)

    async def json(self) -> Any:
        """The same as an object."""
        return json.loads(await self.body())

    async def ended(self) -> None:
        """Waits until the application is done with it."""
        await asyncio.wait_for(asyncio.gather(self._task, return_exceptions=True), self._seconds)


@asynccontextmanager
async def living(app: FastAPI) -> AsyncIterator[FastAPI]:
    """Starts an application, and shuts it down."""
    async with app.router.lifespan_context(app):
        yield app


async def until(condition: Any) -> None:
    """Waits until something is so."""
    end = asyncio.get_running_loop().time() + SECONDS
    while not condition():
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.005)
