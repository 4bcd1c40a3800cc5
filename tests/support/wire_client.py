"""A client of HTTP/1.1 that does on purpose what clients do by accident: leaves, dawdles, stops."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass(slots=True)
class Answer:
    """An answer, as far as it was read."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body as an object."""
        return json.loads(self.body)


class Connection:
    """One connection, for one request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Of an open one."""
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        """Sends some bytes of a request."""
        self._writer.write(data)
        await self._writer.drain()

    async def head(self) -> Answer:
        """The answer's status and headers."""
        text = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = text.strip().split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        return Answer(int(first.split()[1]), headers)

    async def pieces(self, answer: Answer) -> AsyncIterator[bytes]:
        """The body, as it comes."""
        if "content-length" in answer.headers:
            if length := int(answer.headers["content-length"]):
                yield await self._reader.readexactly(length)
            return
        while size := int((await self._reader.readuntil(b"\r\n")), 16):
            yield await self._reader.readexactly(size)
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)

    async def answer(self) -> Answer:
        """All of it."""
        answer = await self.head()
        async for piece in self.pieces(answer):
            answer.body += piece
        return answer


@asynccontextmanager
async def connected(url: str, *, is_small: bool = False) -> AsyncIterator[Connection]:
    """A connection, which is closed at once at the end, whatever is still on its way.

    Args:
        url: Of the server.
        is_small: Whether little is received before it is read, so that the server has to wait.
    """
    place = urlsplit(url)
    loop = asyncio.get_running_loop()
    own = socket.socket()
    own.setblocking(False)
    if is_small:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    try:
        await loop.sock_connect(own, (place.hostname, place.port))
        limit = 2048 if is_small else 1 << 16
        reader, writer = await asyncio.open_connection(sock=own, limit=limit)
    except BaseException:
        own.close()
        raise
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


def request(path: str, body: bytes | None = None, **headers: str) -> bytes:
    """A request as it is sent: GET without a body, else POST."""
    told = {"Host": "localhost", "Connection": "close", **headers}
    if body is not None:
        told.setdefault("Content-Length", str(len(body)))
    lines = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in told.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")


async def asked(url: str, path: str, body: Any = None) -> Answer:
    """The answer to an object, or to a GET."""
    async with connected(url) as connection:
        await connection.send(request(path, None if body is None else json.dumps(body).encode()))
        return await connection.answer()
