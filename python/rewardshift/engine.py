"""Who asked for what: turns the core's events into chunks and delivers them."""

from __future__ import annotations

import os
import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from . import _core
from .errors import Error, EvaluationError
from .loading.log import forward_log
from .results import Chunk, Completion, FinishReason, Statistics, TokenInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from typing_extensions import Self


class Stream:
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
    complete: Callable[[Completion], Completion] | None
    steps: list[TokenInfo] = field(default_factory=list)
    text: bytearray = field(default_factory=bytearray)


class Engine:
    """The core's decoder, shared by callers that wait for their own requests only.

    A request is *claimed* by whoever follows it: its chunks are kept for that caller, whoever
    happens to advance the engine. Chunks of other requests come out of ``step``.
    """

    def __init__(
        self,
        target: _core.LanguageModel,
        draft: _core.LanguageModel | None,
        reference: _core.LanguageModel | None,
        *,
        lock: threading.RLock | None = None,
    ) -> None:
        """Decodes with these roles.

        Args:
            target: The model of p.
            draft: The model of q.
            reference: The model of r.
            lock: That of another engine with the same models; None is a new one.
        """
        roles = {"target": target, "draft": draft, "reference": reference}
        self._models = {role: model for role, model in roles.items() if model is not None}
        self._core: _core.Decoder | None = _core.Decoder(
            target, draft, reference, _core.DecoderOptions()
        )
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

    @property
    def core(self) -> _core.Decoder:
        """The core's decoder; raises Error once closed, and in a forked child."""
        if self._is_forked():
            raise Error(
                "this Decoder was loaded before fork(), which takes no threads along: load it in "
                "the child, or start the child by 'spawn'"
            )
        if self._core is None:
            raise Error("this Decoder is closed")
        return self._core

    @property
    def models(self) -> dict[str, _core.LanguageModel]:
        """What it decodes with, by role; raises Error once closed."""
        _ = self.core  # closed?
        return self._models

    @property
    def has_work(self) -> bool:
        """Whether ``step`` would do anything."""
        return self.core.has_work or bool(self._unclaimed)

    def submit(
        self,
        target: Sequence[int],
        draft: Sequence[int],
        reference: Sequence[int],
        params: _core.RequestParams,
        *,
        claimed: bool,
        complete: Callable[[Completion], Completion] | None,
    ) -> int:
        """Queues a request with a prompt per role; an empty one is the target's.

        Args:
            target: Its token ids.
            draft: Likewise.
            reference: Likewise.
            params: What is asked for.
            claimed: Whether the chunks are kept for ``follow``.
            complete: Adds to the completion what the core does not know of; must not fail.
        """
        with self._alone():
            request = self.core.submit(target, draft, reference, params)
            self._requests[request] = _Request(len(target), params.seed, complete)
            if claimed:
                self._claimed[request] = deque()
        return request

    def step(self) -> list[Chunk]:
        """Advances all requests; returns what is new of the unclaimed ones."""
        _ = self.core  # closed?
        if not self._unclaimed:
            self._advance()
        chunks, self._unclaimed = self._unclaimed, []
        return chunks

    def follow(self, request: int) -> Stream:
        """The chunks of a claimed request."""
        return Stream(self, request)

    def next_chunk(self, request: int) -> Chunk | None:
        """The next chunk of a claimed request; None when there will be no more.

        Raises:
            EvaluationError: If the request failed.
        """
        _ = self.core  # closed?
        inbox = self._claimed.get(request, ())
        while not inbox:
            if request not in self._requests:
                return None
            self._advance()
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
                if self._requests.pop(request, None) is not None and self._core is not None:
                    self._core.cancel(request)

    def close(self) -> None:
        """Lets go of the core, after the step that another thread may be in."""
        if self._is_forked():
            return
        with self.lock:
            self._core = None
            self._models = {}
            self._requests.clear()
            self._claimed.clear()
            self._unclaimed.clear()

    def _is_forked(self) -> bool:
        """Whether this is a child's copy: its lock may be held by a thread that is not there."""
        return os.getpid() != self._home

    def _completion(self, request: int) -> Completion:
        completion = None
        for chunk in self.follow(request):
            completion = chunk.completion
        if completion is None:
            raise Error(f"request {request} ended without a completion")
        return completion

    def _advance(self) -> None:
        with self._alone():
            self.core.step()
            for event in self.core.take_events():
                if event.id in self._requests:
                    chunk = self._chunk(event)
                    self._claimed.get(event.id, self._unclaimed).append(chunk)
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

    def _chunk(self, event: _core.Event) -> Chunk:
        request = self._requests[event.id]
        tokens = tuple(
            TokenInfo.from_core(token, self.core.piece(token.id).decode(errors="replace"))
            for token in event.tokens
        )
        request.steps += tokens
        request.text += event.text
        chunk = Chunk(event.id, event.text.decode(errors="replace"), tokens)
        if event.finish is None:
            return chunk
        del self._requests[event.id]
        if event.finish == "error":
            return replace(chunk, error=event.error)
        completion = Completion(
            text=request.text.decode(errors="replace"),
            tokens=tuple(step.id for step in request.steps),
            finish_reason=cast("FinishReason", event.finish),
            steps=tuple(request.steps),
            statistics=Statistics.from_core(event.statistics, request.steps),
            seed=request.seed,
            prompt_tokens=request.prompt_tokens,
        )
        if request.complete is not None:
            completion = request.complete(completion)
        return replace(chunk, completion=completion)
