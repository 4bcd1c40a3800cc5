"""Who asked for what: turns the core's events into chunks and delivers them."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from rewardshift.boundary import StaysHere
from rewardshift.errors import Error, EvaluationError
from rewardshift.loading.log import forward_log
from rewardshift.results import Chunk, Completion, FinishReason, Statistics, TokenInfo

from .lanes import Apart, Asked, Together

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from typing_extensions import Self

    from rewardshift import _core
    from rewardshift.readers import AnyPanel


_UNWATCHED = 0.05
"""Seconds of decoding between two looks of a caller who only wants the whole response."""


class Stream(StaysHere):
    """An iterator over the chunks of one response; the last one has the completion.

    Ctrl-C loses nothing: the next ``next()`` goes on. Closing it, leaving its ``with`` block or
    dropping it cancels the request.
    """

    def __init__(self, engine: Engine, request: int) -> None:
        """Of a request that is claimed for this stream."""
        self._engine = engine
        self._request = request

    def __iter__(self) -> Self:
        """The stream itself."""
        return self

    def __next__(self) -> Chunk:
        """The next chunk, as soon as there is one."""
        chunk = self._engine.next_chunk(self._request)
        if chunk is None:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Cancels the request if it is not finished."""
        self._engine.abandon([self._request])

    def __enter__(self) -> Self:
        """The stream itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def __del__(self) -> None:
        """Closes it."""
        self.close()


@dataclass(slots=True)
class _Request:
    """A request under way, and what is known of its response."""

    prompt_tokens: int
    seed: int
    substream: int
    complete: Callable[[Completion], Completion] | None
    opening: str
    visible: frozenset[int] = frozenset()
    steps: list[TokenInfo] = field(default_factory=list)
    text: bytearray = field(default_factory=bytearray)


class Engine:
    """What decodes, shared by callers that wait for their own requests only.

    A request is *claimed* by whoever follows it: its chunks are kept for that caller, whoever
    happens to advance the engine. Chunks of other requests come out of ``step``.
    """

    def __init__(
        self,
        panel: AnyPanel,
        models: Mapping[str, _core.LanguageModel],
        *,
        open_apart: Callable[[], Mapping[str, _core.LanguageModel]] | None = None,
        n_threads: int = 1,
        lock: threading.RLock | None = None,
    ) -> None:
        """Decodes with these readers.

        Args:
            panel: Who reads.
            models: What evaluates each reader, by its name.
            open_apart: Makes the contexts of requests that are decoded apart from all others; None
                where the models compute the same whoever is beside them.
            n_threads: For our own work on the rows of several requests.
            lock: That of another engine with the same models; None is a new one.
        """
        self.panel = panel
        self._models = dict(models)
        self._together: Together | None = Together(panel, models, n_threads=n_threads)
        self._apart = None if open_apart is None else Apart(panel, open_apart)
        self._next_id = 0
        self._requests: dict[int, _Request] = {}
        self._claimed: dict[int, deque[Chunk]] = {}
        self._unclaimed: list[Chunk] = []
        self.lock = lock or threading.RLock()
        self._home = os.getpid()
        self._is_calibrated = False

    def calibrate(self) -> None:
        """Measures what batches cost, so that draft lengths can be chosen by it."""
        with self._alone():
            self.core.calibrate()
        self._is_calibrated = True

    def calibrate_once(self) -> None:
        """The same, unless that was done, or requests of this engine are under way.

        Those of another one with the same models must evaluate again what is forgotten.
        """
        if not self._is_calibrated and not self.has_work:
            self.calibrate()

    def forget(self) -> None:
        """Drops what the models remember."""
        with self._alone():
            for model in self.models.values():
                model.forget()
            if self._apart is not None:
                self._apart.forget()

    @property
    def core(self) -> _core.Decoder:
        """The core's decoder of shared batches; raises Error once closed, and in a forked child."""
        if self._is_forked():
            raise Error(
                "this Decoder was loaded before fork(), which takes no threads along: load it in "
                "the child, or start the child by 'spawn'"
            )
        if self._together is None:
            raise Error("this Decoder is closed")
        return self._together.core

    @property
    def models(self) -> dict[str, _core.LanguageModel]:
        """What it decodes with, by reader; raises Error once closed."""
        _ = self.core  # closed?
        return self._models

    @property
    def own_models(self) -> Mapping[str, _core.LanguageModel]:
        """What it decodes with apart, by reader; none before the first such request."""
        _ = self.core  # closed?
        return {} if self._apart is None else self._apart.models

    @property
    def has_work(self) -> bool:
        """Whether ``step`` would do anything."""
        _ = self.core  # closed?
        return bool(self._unclaimed) or any(lane.has_work for lane in self._lanes)

    def _lane(self, *, apart: bool) -> Together | Apart:
        together, own = self._together, self._apart
        assert together is not None  # noqa: S101 - or it is closed
        return own if apart and own is not None else together

    @property
    def _lanes(self) -> list[Together | Apart]:
        return [lane for lane in (self._together, self._apart) if lane is not None]

    def submit(
        self,
        prompts: Sequence[list[int]],
        params: _core.RequestParams,
        *,
        apart: bool,
        claimed: bool,
        opening: str = "",
        complete: Callable[[Completion], Completion] | None = None,
    ) -> int:
        """Queues a request with a prompt per reader; an empty one is the target's.

        Args:
            prompts: Token ids by reader, the target's first.
            params: What is asked for.
            apart: Whether nothing else may touch what it computes.
            claimed: Whether the chunks are kept for ``follow``.
            opening: What the text begins with, before what is generated.
            complete: Adds to the completion what the core does not know of; must not fail.
        """
        with self._alone():
            _ = self.core  # closed?
            request = self._next_id
            self._next_id += 1
            self._lane(apart=apart).submit(Asked(request, prompts, params))
            self._requests[request] = _Request(
                len(prompts[0]),
                params.seed,
                params.substream,
                complete,
                opening,
                frozenset(params.visible_tokens),
            )
            if claimed:
                self._claimed[request] = deque()
        return request

    def step(self) -> list[Chunk]:
        """Advances all requests; returns what is new of the unclaimed ones."""
        _ = self.core  # closed?
        if not self._unclaimed:
            self._advance()
        chunks, self._unclaimed = self._unclaimed, []
        return sorted(chunks, key=lambda chunk: chunk.id)

    def cancel(self, request: int) -> None:
        """Ends a request; its last chunk comes with the next step. Unknown ones are ignored."""
        _ = self.core  # closed?
        for lane in self._lanes:
            lane.cancel(request)

    def follow(self, request: int) -> Stream:
        """The chunks of a claimed request."""
        return Stream(self, request)

    def next_chunk(self, request: int, *, seconds: float = 0.0) -> Chunk | None:
        """The next chunk of a claimed request; None when there will be no more.

        Args:
            request: Its id.
            seconds: How long it may be decoded without a word; 0 is a step.

        Raises:
            EvaluationError: If the request failed.
        """
        _ = self.core  # closed?
        inbox = self._claimed.get(request, ())
        while not inbox:
            if request not in self._requests:
                return None
            self._advance(seconds)
        chunk = self._claimed[request].popleft()
        if chunk.error is not None:
            raise EvaluationError(chunk.error)
        return chunk

    def finish(self, requests: Sequence[int]) -> list[Completion]:
        """The completions of claimed requests, decoded together; abandons all if one fails."""
        try:
            return [self._completion(request) for request in requests]
        finally:
            self.abandon(requests)

    def abandon(self, requests: Sequence[int]) -> None:
        """Ends claimed requests nobody waits for any more."""
        if self._is_forked():
            return
        with self.lock:  # waits for a step in another thread
            for request in requests:
                self._claimed.pop(request, None)
                if self._requests.pop(request, None) is not None and self._together is not None:
                    self.cancel(request)

    def close(self) -> None:
        """Lets go of the core, after the step that another thread may be in."""
        if self._is_forked():
            return
        with self.lock:
            self._together = self._apart = None
            self._models = {}
            self._requests.clear()
            self._claimed.clear()
            self._unclaimed.clear()

    def _is_forked(self) -> bool:
        """Whether this is a child's copy: its lock may be held by a thread that is not there."""
        return os.getpid() != self._home

    def _completion(self, request: int) -> Completion:
        while (chunk := self.next_chunk(request, seconds=_UNWATCHED)) is not None:
            if chunk.completion is not None:
                return chunk.completion
        raise Error(f"request {request} ended without a completion")

    def _advance(self, seconds: float = 0.0) -> None:
        with self._alone():
            for lane in self._lanes:
                for request, event in lane.step(seconds):
                    if request in self._requests:
                        chunk = self._chunk(request, event)
                        self._claimed.get(request, self._unclaimed).append(chunk)
        forward_log()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Turns what would be a race with another thread into an error."""
        _ = self.core  # closed?
        if not self.lock.acquire(blocking=False):
            raise Error(
                "this Decoder is in use by another thread; give each thread its own, or submit "
                "all requests to one and step it from one thread"
            )
        try:
            yield
        finally:
            self.lock.release()

    def _text_of(self, token: int, request: _Request) -> str:
        """What a token adds to a response."""
        bytes_of = self.core.spelling if token in request.visible else self.core.piece
        return bytes_of(token).decode(errors="replace")

    def _chunk(self, number: int, event: _core.Event) -> Chunk:
        request = self._requests[number]
        tokens = tuple(
            TokenInfo.from_core(token, self._text_of(token.id, request), self.panel)
            for token in event.tokens
        )
        request.steps += tokens
        request.text += request.opening.encode() + event.text
        chunk = Chunk(number, request.opening + event.text.decode(errors="replace"), tokens)
        request.opening = ""
        if event.finish is None:
            return chunk
        del self._requests[number]
        if event.finish == "error":
            return replace(chunk, error=event.error)
        completion = Completion(
            text=request.text.decode(errors="replace"),
            tokens=tuple(step.id for step in request.steps),
            finish_reason=cast("FinishReason", event.finish),
            steps=tuple(request.steps),
            statistics=Statistics.from_core(event.statistics, request.steps, self.panel),
            seed=request.seed,
            substream=request.substream,
            prompt_tokens=request.prompt_tokens,
        )
        if request.complete is not None:
            completion = request.complete(completion)
        return replace(chunk, completion=completion)
