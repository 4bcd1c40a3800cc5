"""What the handlers of one application share."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from rewardshift.grammar import GRAMMAR_OPTIONS

from .errors import ApiError, api_error_of, unavailable
from .facts import Facts
from .metrics import Metrics
from .record import current
from .worker import Listeners, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.options import SamplingOptions

    from .job import Job
    from .settings import Settings

T = TypeVar("T")

_POLL = 0.05
_COMPILERS = 2
"""Grammars that are compiled at once."""
_LAST_STEP, _LAST_STEP_IN_A_HURRY = 30.0, 1.0
"""Seconds that the step may take in which the worker is told to stop."""


class Server:
    """The worker, what is known of its models, and whether requests are taken."""

    def __init__(self, open_decoder: Callable[[], Decoder], settings: Settings) -> None:
        """Loads nothing yet; see ``start``."""
        self.settings = settings
        self.created = int(time.time())
        self.metrics = Metrics()
        self.metrics.watch(
            requests_processing=("Answers that have a place", lambda: self.processing),
            requests_deferred=("Answers that wait for one", lambda: self.deferred),
            slots=("Places", lambda: self._places),
            ready=("1 where requests are answered", lambda: self.health[0] == "ok"),
            acceptance=("Accepted share of all drafts", self.metrics.acceptance),
            seconds_busy=("In the step that it is in", lambda: self.worker.seconds_busy),
        )
        self.worker = Worker(open_decoder, Listeners(self._opened, self.metrics.answer_ended))
        self._facts: Facts | None = None
        self._is_draining = False
        self._is_hurried = False
        self._asking = 0
        self._compilers = ThreadPoolExecutor(_COMPILERS, "rewardshift-grammar")

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
    def processing(self) -> int:
        """Answers that have a place."""
        return min(self.worker.under_way, self._places)

    @property
    def deferred(self) -> int:
        """Answers that wait for one, and questions that wait for the decoder."""
        return max(self.worker.under_way + self._asking - self._places, 0)

    @property
    def _places(self) -> int:
        return 0 if self._facts is None else self._facts.places

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
        """Whether it is "ok", "loading", "stopping" or in "error", and why."""
        if self._is_draining:
            return "stopping", "the server is shutting down"
        if self.worker.state != "ok":
            return self.worker.state, self.worker.failure
        if self.worker.seconds_busy > self.settings.stalled_seconds:
            return "error", f"one step has taken {self.worker.seconds_busy:.0f} s so far"
        return "ok", ""

    async def submit(
        self,
        make: Callable[[Decoder], Sequence[int]],
        options: SamplingOptions,
        choices: int = 1,
    ) -> Job:
        """Has the decoder answer.

        Args:
            make: Submits the requests, one for each choice, and returns their ids.
            options: Theirs, whose grammar is compiled before, as nobody else shall wait for that.
            choices: How many.

        Raises:
            ApiError: If it cannot be; also if too many wait already, or the server shuts down.
        """
        self._require_room(choices)
        with self._waiting():
            await self._compile(options)
        self._require_room(choices)
        return await self.worker.submit(make, choices)

    async def ask(self, function: Callable[[Decoder], T]) -> T:
        """What a function of the decoder returns, between two steps.

        Raises:
            ApiError: If it cannot be; also if too many wait already, or the server shuts down.
        """
        self._require_room(1)
        with self._waiting():
            return await self.worker.call(function)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Counts who waits for something else than a place, too."""
        self._asking += 1
        try:
            yield
        finally:
            self._asking -= 1

    def _require_room(self, choices: int) -> None:
        if self._is_draining:
            raise unavailable("the server is shutting down", "shutting_down")
        waiting = self.worker.under_way + self._asking - self.facts.places
        if waiting + choices > self.settings.max_queue:
            raise ApiError(
                429,
                f"{max(waiting, 0)} answers wait for one of {self.facts.places} places; at most "
                f"{self.settings.max_queue} may",
                "rate_limit_error",
                code="queue_full",
                headers={"Retry-After": "1"},
            )

    async def _compile(self, options: SamplingOptions) -> None:
        """In a thread of its own, for it may take seconds, and a few at a time."""
        if not any(name in options for name in GRAMMAR_OPTIONS):
            return
        names = (*GRAMMAR_OPTIONS, "visible_tokens")
        form = {name: options[name] for name in names if name in options}  # type: ignore[literal-required]
        decoder = self.worker.decoder
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._compilers, lambda: decoder.compile_grammar(**form))
        except Exception as error:
            raise api_error_of(error) from error

    def note_asked(self, prompt: object, lengths: Sequence[int]) -> None:
        """For the log: what is asked, where that is to be told, and its tokens by prompt."""
        record = current()
        record.prompt_tokens = sum(lengths)
        if self.settings.log_prompts:
            record.prompt = prompt

    async def drain(self) -> None:
        """Takes no more requests, and waits for those under way; then it ends them."""
        if self._is_draining:
            return
        self._is_draining = True
        end = time.monotonic() + self.settings.drain_seconds
        while self.worker.under_way and time.monotonic() < end and not self._is_hurried:
            await asyncio.sleep(_POLL)
        self.worker.end_all(unavailable("the server is shutting down", "shutting_down"))

    def hurry(self) -> None:
        """Ends the wait for answers under way; they get an error. For signal handlers, too."""
        self._is_hurried = True

    async def close(self) -> bool:
        """Drains and closes; whether the thread has ended."""
        await self.drain()
        self._compilers.shutdown(wait=False, cancel_futures=True)
        seconds = _LAST_STEP_IN_A_HURRY if self._is_hurried else _LAST_STEP
        return await self.worker.stop(seconds=0 if self.worker.state == "loading" else seconds)

    def _opened(self, decoder: Decoder) -> None:
        self._facts = Facts.of(decoder)
