"""What one request of HTTP has the decoder do, as the event loop sees it."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewardshift.results import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self


@dataclass(slots=True)
class Times:
    """When what happened to a choice, by the monotonic clock.

    Attributes:
        asked: It was asked for.
        first: Its first token came; None before.
        last: Its latest token came, or its end; None before.
    """

    asked: float
    first: float | None = None
    last: float | None = None

    def note(self, now: float) -> None:
        """That something has come."""
        self.first = now if self.first is None else self.first
        self.last = now


class Job:
    """An async iterator of (choice, chunk) until each choice has its completion.

    The worker puts chunks in and never waits for their reader: what a slow one has not taken yet
    comes out as one chunk of each choice, so that memory is bounded by the answer.
    """

    def __init__(self, choices: int, end: Callable[[Job], None]) -> None:
        """Made on the event loop.

        Args:
            choices: How many answers there will be.
            end: Tells the worker that nobody waits any more.
        """
        self.choices = choices
        self._end = end
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._fresh: dict[int, list[Chunk]] = {}
        self._left = set(range(choices))
        self.times = [Times(time.monotonic()) for _ in range(choices)]
        self._error: BaseException | None = None
        self._is_cancelled = False
        self._news = asyncio.Event()

    # --- the worker's side ------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for anything more of it."""
        return self._is_cancelled or self._error is not None or not self._left

    def put(self, choice: int, chunk: Chunk) -> None:
        """Adds what is new of a choice."""
        with self._lock:
            if self._is_cancelled:
                return
            self.times[choice].note(time.monotonic())
            is_awaited = not self._fresh
            self._fresh.setdefault(choice, []).append(chunk)
            if chunk.is_last:
                self._left.discard(choice)
        if is_awaited:  # else its reader was told, and has not come yet
            self._tell()

    def fail(self, error: BaseException) -> None:
        """Ends it with an error, which the reader is raised."""
        with self._lock:
            if self._error is None:
                self._error = error
        self._tell()

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is there
            self._loop.call_soon_threadsafe(self._news.set)

    # --- the event loop's side --------------------------------------------------------------

    def __aiter__(self) -> Self:
        """The job itself."""
        return self

    async def __anext__(self) -> tuple[int, Chunk]:
        """What is new of a choice, all that has come of it."""
        while True:
            with self._lock:
                if self._fresh:
                    choice = next(iter(self._fresh))
                    return choice, joined(self._fresh.pop(choice))
                if self._error is not None:
                    raise self._error
                if self._is_cancelled or not self._left:
                    raise StopAsyncIteration
                self._news.clear()
            await self._news.wait()

    def cancel(self) -> None:
        """Frees its places at once, if it is not over; its reader's iteration ends."""
        with self._lock:
            was_over, self._is_cancelled = self.is_over, True
            self._fresh.clear()
        if not was_over:
            self._end(self)
        self._news.set()


def joined(chunks: list[Chunk]) -> Chunk:
    """Consecutive chunks of one request as one."""
    last = chunks[-1]
    if len(chunks) == 1:
        return last
    text = "".join(chunk.text for chunk in chunks)
    tokens = tuple(token for chunk in chunks for token in chunk.tokens)
    return Chunk(last.id, text, tokens, last.completion, last.error)
