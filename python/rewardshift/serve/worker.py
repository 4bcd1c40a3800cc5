"""The one thread that opens, steps and closes the decoder."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from rewardshift.errors import Error, EvaluationError

from .errors import ApiError, api_error_of, unavailable
from .job import Job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.results import Chunk, Completion

    from .job import Times

T = TypeVar("T")

_logger = logging.getLogger("rewardshift.serve")

LOADING, READY, FAILED, STOPPED = "loading", "ok", "error", "stopped"


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who is told, in the worker's thread, of what becomes known there.

    Attributes:
        opened: Of the decoder, before it is used.
        finished: Of every answer, also of those that nobody waits for any more, whose times are not
            known.
    """

    opened: Callable[[Decoder], None]
    finished: Callable[[Decoder, Completion, Times | None], None]


@dataclass(frozen=True, slots=True)
class _Command:
    """Something to do with the decoder between two steps, or to refuse once there is none."""

    run: Callable[[Decoder], None]
    refuse: Callable[[BaseException], None]


class Worker:
    """Runs a decoder for an event loop, which never waits for it but by ``await``.

    What goes wrong with one job ends that job. If a step itself fails, all jobs under way end with
    that error, and the decoder goes on from an empty memory, or is opened anew.

    Attributes:
        state: "loading", "ok", "error" or "stopped".
        failure: Why it is "error", in words.
        error: The same as it was raised.
    """

    def __init__(self, open_decoder: Callable[[], Decoder], listeners: Listeners) -> None:
        """Does nothing yet; see ``start``.

        Args:
            open_decoder: Makes the decoder, in the thread.
            listeners: Who is told there.
        """
        self._open_decoder = open_decoder
        self._listeners = listeners
        self._commands: queue.SimpleQueue[_Command | None] = queue.SimpleQueue()
        self._requests: dict[int, tuple[Job, int]] = {}  # job and choice, by the decoder's id
        self._choices: dict[Job, int] = {}  # not over, by job
        self._lock = threading.Lock()  # of the above
        self._asked: set[asyncio.Future[Any]] = set()  # of the event loop's
        self._thread = threading.Thread(target=self._run, name="rewardshift", daemon=True)
        self._busy_since: float | None = None
        self._decoder: Decoder | None = None
        self.state = LOADING
        self.failure = ""
        self.error: Exception | None = None

    # --- from the event loop ----------------------------------------------------------------

    def start(self) -> None:
        """Begins to load."""
        self._thread.start()

    async def stop(self, *, seconds: float) -> bool:
        """Ends all jobs and closes the decoder; whether that was done within so many seconds."""
        self._commands.put(None)
        await asyncio.to_thread(self._thread.join, seconds)
        return not self._thread.is_alive()

    @property
    def is_running(self) -> bool:
        """Whether its thread is: in the core, perhaps."""
        return self._thread.is_alive()

    @property
    def under_way(self) -> int:
        """Choices that have a place or wait for one."""
        with self._lock:
            return sum(self._choices.values())

    @property
    def seconds_busy(self) -> float:
        """How long it has been in the step, or command, that it is in; 0 between them."""
        began = self._busy_since
        return 0.0 if began is None else time.monotonic() - began

    async def submit(self, make: Callable[[Decoder], Sequence[int]], choices: int = 1) -> Job:
        """Has the decoder answer.

        Args:
            make: Submits the requests, one for each choice, and returns their ids.
            choices: How many.

        Raises:
            ApiError: If there is no decoder at hand.
            Exception: What ``make`` raises.
        """
        self.require_ready()
        job = Job(choices, self._end)
        with self._lock:
            self._choices[job] = choices
        try:
            await self.call(lambda decoder: self._admit(job, make(decoder)))
        except BaseException:
            job.cancel()
            raise
        return job

    @property
    def decoder(self) -> Decoder:
        """The decoder, for what may be done in any thread.

        Raises:
            ApiError: If there is none at hand.
        """
        self.require_ready()
        if self._decoder is None:
            raise _stopping()
        return self._decoder

    def call(self, function: Callable[[Decoder], T]) -> Awaitable[T]:
        """What a function of the decoder returns, or raises, between two steps.

        It is not called if whoever waits for it is cancelled before.

        Raises:
            ApiError: If there is no decoder at hand.
        """
        self.require_ready()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def settle(settled: Callable[[], None]) -> None:
            if not answer.done():
                settled()

        def run(decoder: Decoder) -> None:
            if answer.done():
                return
            try:
                value = function(decoder)
            except Exception as error:  # noqa: BLE001 - it is the caller's
                refuse(api_error_of(error))
            else:
                _tell(loop, lambda: settle(lambda: answer.set_result(value)))

        def refuse(error: BaseException) -> None:
            _tell(loop, lambda: settle(lambda: answer.set_exception(error)))

        self._commands.put(_Command(run, refuse))
        if self.state in (FAILED, STOPPED):  # the thread may have looked for the last time
            answer.cancel()
            self.require_ready()
        self._asked.add(answer)
        answer.add_done_callback(self._asked.discard)
        return answer

    def end_all(self, error: ApiError) -> None:
        """Ends all jobs, and whoever waits for a command, without waiting for the thread."""
        for answer in list(self._asked):
            if not answer.done():
                answer.set_exception(error)
        for job in self._jobs:
            job.fail(error)
            self._end(job)

    def require_ready(self) -> None:
        """Raises ApiError if there is no decoder at hand."""
        if self.state == LOADING:
            raise unavailable("the model is being loaded", "model_loading", retry_after=1)
        if self.state == FAILED:
            raise unavailable(f"the decoder has failed: {self.failure}", "decoder_failed")
        if self.state == STOPPED:
            raise _stopping()

    @property
    def _jobs(self) -> list[Job]:
        with self._lock:
            return list(self._choices)

    def _end(self, job: Job) -> None:
        self._commands.put(_Command(lambda decoder: self._cancel(decoder, job), lambda _: None))

    # --- in the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._serve(self._opened()) == "broken":
                self._let_go()  # there may be no memory for two
            self.state = STOPPED
        except Exception as error:  # noqa: BLE001 - whatever it is, health tells
            self.failure = str(error) or type(error).__name__
            _log_failure(error)
            self.error = error
            self.state = FAILED
        finally:
            self._refuse_all()
            self._let_go()

    def _opened(self) -> Decoder:
        with self._busy():
            self._decoder = self._open_decoder()
            self._listeners.opened(self._decoder)
        self.state = READY
        return self._decoder

    def _let_go(self) -> None:
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            decoder.close()

    def _serve(self, decoder: Decoder) -> str:
        """Until it is told to stop, or the decoder is broken."""
        while True:
            is_idle = not decoder.has_work
            while True:
                try:
                    command = self._commands.get(block=is_idle)
                except queue.Empty:
                    break
                if command is None:
                    return "stopped"
                with self._busy():
                    command.run(decoder)
                is_idle = False
            if decoder.has_work and not self._step(decoder):
                return "broken"

    def _step(self, decoder: Decoder) -> bool:
        """Whether the decoder can go on."""
        try:
            with self._busy():
                chunks = decoder.step()
        except Exception as error:
            _logger.exception("a step has failed")
            can_go_on = self._emptied(decoder)
            if not can_go_on:
                self.state = LOADING  # before anybody hears of it, and asks again
            self._fail_submitted(api_error_of(error))
            return can_go_on
        for chunk in chunks:
            self._deliver(decoder, chunk)
        return True

    def _emptied(self, decoder: Decoder) -> bool:
        """Whether a decoder whose step has failed could let go of what it had to do."""
        try:
            for request in self._requests:
                decoder.cancel(request)
            decoder.forget()
            decoder.step()  # tells what was known before it failed, if anything was
            decoder.step()
        except Exception:
            _logger.exception("the decoder is opened anew")
            return False
        return not decoder.has_work

    def _deliver(self, decoder: Decoder, chunk: Chunk) -> None:
        job, choice = self._requests.get(chunk.id, (None, 0))
        if chunk.completion is not None:
            times = None if job is None else job.times[choice]
            self._listeners.finished(decoder, chunk.completion, times)
        if job is None:
            return
        if chunk.is_last:
            self._release(chunk.id, job)
        if chunk.error is not None:
            job.fail(api_error_of(EvaluationError(chunk.error)))
            self._cancel(decoder, job)
        else:
            job.put(choice, chunk)

    def _admit(self, job: Job, requests: Sequence[int]) -> None:
        with self._lock:
            for choice, request in enumerate(requests):
                self._requests[request] = (job, choice)

    def _release(self, request: int, job: Job) -> None:
        with self._lock:
            del self._requests[request]
            self._choices[job] -= 1
            if self._choices[job] == 0:
                del self._choices[job]

    def _cancel(self, decoder: Decoder, job: Job) -> None:
        own = [request for request, (other, _) in self._requests.items() if other is job]
        for request in own:
            decoder.cancel(request)
        if not own:  # it never came to that
            with self._lock:
                self._choices.pop(job, None)

    def _fail_submitted(self, error: BaseException) -> None:
        """Ends the jobs that the decoder knows of; those that wait to be submitted will be yet."""
        with self._lock:
            jobs = {job for job, _ in self._requests.values()}
            self._requests.clear()
            for job in jobs:
                del self._choices[job]
        for job in jobs:
            job.fail(error)

    def _refuse_all(self) -> None:
        self._fail_submitted(_stopping())
        with self._lock:
            self._choices.clear()
        while True:
            try:
                command = self._commands.get(block=False)
            except queue.Empty:
                return
            if command is not None:
                command.refuse(_stopping())

    @contextmanager
    def _busy(self) -> Iterator[None]:
        self._busy_since = time.monotonic()
        try:
            yield
        finally:
            self._busy_since = None


def _log_failure(error: Exception) -> None:
    """Errors that users can act on say all there is, and health says it: without a traceback."""
    if not isinstance(error, (Error, OSError, ValueError)):
        _logger.error("the decoder has failed", exc_info=error)


def _stopping() -> ApiError:
    return unavailable("the server is shutting down", "shutting_down")


def _tell(loop: asyncio.AbstractEventLoop, function: Callable[[], Any]) -> None:
    with suppress(RuntimeError):  # the loop is closed: nobody is there
        loop.call_soon_threadsafe(function)
