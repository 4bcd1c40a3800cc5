"""Whether the client is still there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from .errors import ClientGoneError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import Receive

T = TypeVar("T")


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """What comes of some work, which is cancelled at once when the client leaves.

    Args:
        receive: The request's, whose body was read.
        work: What the client waits for.

    Raises:
        ClientGoneError: If it has left.
    """
    working: asyncio.Future[T] = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        either: set[asyncio.Future[Any]] = {working, leaving}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
