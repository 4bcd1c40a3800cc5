"""What the handlers of one application share."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from .errors import ApiError, unavailable
from .facts import Facts
from .worker import Listeners, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.results import Completion

    from .job import Job
    from .settings import Settings

_POLL = 0.05
_LAST_STEP = 30.0
"""Seconds that the step may take in which the worker is told to stop."""


class Server:
    """The worker, what is known of its models, and whether requests are taken."""

    def __init__(self, open_decoder: Callable[[], Decoder], settings: Settings) -> None:
        """Loads nothing yet; see ``start``."""
        self.settings = settings
        self.created = int(time.time())
        self.worker = Worker(open_decoder, Listeners(self._opened, self._finished))
        self._facts: Facts | None = None
        self._is_draining = False

    @property
    def facts(self) -> Facts:
        """Of the models.

        Raises:
            ApiError: If they are not loaded yet.
        """
        if self._facts is None:
            self.worker.require_ready()
            raise unavailable("the model is being loaded", "model_loading", retry_after=1)
        return self._facts

    @property
    def was_ever_open(self) -> bool:
        """Whether models were loaded, some time."""
        return self._facts is not None

    @property
    def name(self) -> str:
        """What the model is called."""
        return self.settings.alias or self.facts.file or "rewardshift"

    @property
    def health(self) -> tuple[str, str]:
        """Whether it is "ok", "loading" or in "error", and why."""
        if self._is_draining:
            return "error", "the server is shutting down"
        if self.worker.state != "ok":
            return self.worker.state, self.worker.failure
        if self.worker.seconds_busy > self.settings.stalled_seconds:
            return "error", f"one step has taken {self.worker.seconds_busy:.0f} s so far"
        return "ok", ""

    async def submit(self, make: Callable[[Decoder], Sequence[int]], choices: int = 1) -> Job:
        """Has the decoder answer; arguments and errors as ``Worker.submit``.

        Raises:
            ApiError: Also if too many wait already, and while the server shuts down.
        """
        if self._is_draining:
            raise unavailable("the server is shutting down", "shutting_down")
        waiting = self.worker.under_way - self.facts.places
        if waiting + choices > self.settings.max_queue:
            raise ApiError(
                429,
                f"{max(waiting, 0)} answers wait for one of {self.facts.places} places; at most "
                f"{self.settings.max_queue} may",
                "rate_limit_error",
                code="queue_full",
                headers={"Retry-After": "1"},
            )
        return await self.worker.submit(make, choices)

    async def drain(self) -> None:
        """Takes no more requests, and waits for those under way; then it ends them."""
        if self._is_draining:
            return
        self._is_draining = True
        end = time.monotonic() + self.settings.drain_seconds
        while self.worker.under_way and time.monotonic() < end:
            await asyncio.sleep(_POLL)
        for job in self.worker.jobs:
            job.fail(unavailable("the server is shutting down", "shutting_down"))

    async def close(self) -> bool:
        """Drains and closes; whether the thread has ended."""
        await self.drain()
        return await self.worker.stop(seconds=_LAST_STEP)

    def _opened(self, decoder: Decoder) -> None:
        self._facts = Facts.of(decoder)

    def _finished(self, completion: Completion) -> None:
        """Counted where there are metrics."""
