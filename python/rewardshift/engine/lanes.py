"""Who is decoded with whom: together, in shared batches, or apart from all others."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewardshift import _core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rewardshift.readers import AnyPanel

CHUNK = 128
"""Prompt tokens that a request which is apart evaluates at once."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its number, a prompt for each reader, and what is asked for.

    An empty prompt stands for the target's, which comes first.
    """

    id: int
    prompts: Sequence[list[int]]
    params: _core.RequestParams

    def submit_to(self, core: _core.Decoder) -> int:
        """Queues it there; raises what is wrong with it."""
        return core.submit(self.prompts, self.params)

    def prompt_of(self, reader: int) -> Sequence[int]:
        """What the reader sees."""
        return self.prompts[reader] or self.prompts[0]


class Together:
    """Requests share batches and caches: most tokens a second.

    What a request's neighbours are, and what was decoded before, changes the shapes of batches and
    where its cells lie, and with them how its logits are rounded.
    """

    def __init__(
        self, panel: AnyPanel, models: Mapping[str, _core.LanguageModel], *, n_threads: int
    ) -> None:
        """Decodes with these readers, and so many threads for our own work."""
        options = _core.DecoderOptions()
        options.n_threads = n_threads
        self.core = panel.decoder(models, options)
        self._ids: dict[int, int] = {}  # by the core's

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return self.core.has_work

    def submit(self, asked: Asked) -> None:
        """Queues a request."""
        self._ids[asked.submit_to(self.core)] = asked.id

    def step(self, seconds: float) -> Iterator[tuple[int, _core.Event]]:
        """Advances all requests for so long; what is new, with whose it is."""
        self.core.step(seconds)
        for event in self.core.take_events():
            yield self._ids[event.id], event
            if event.finish is not None:
                del self._ids[event.id]

    def cancel(self, request: int) -> None:
        """Ends a request; its last event comes with the next step."""
        for own, asked in self._ids.items():
            if asked == request:
                self.core.cancel(own)


class Apart:
    """One request at a time, in caches that hold nothing else: equal to the last bit, always.

    Whatever the order of requests, each finds its prompt's beginning in the cache's first cells,
    evaluated in the same chunks, or evaluates it so.
    """

    def __init__(
        self, panel: AnyPanel, open_models: Callable[[], Mapping[str, _core.LanguageModel]]
    ) -> None:
        """Decodes with these readers.

        Args:
            panel: Who reads.
            open_models: Makes the models, by reader, once the first request comes.
        """
        self._panel = panel
        self._open_models = open_models
        self._caches: dict[str, OwnCache] = {}
        self._asked: deque[Asked] = deque()
        self._running: _core.Decoder | None = None  # plays the first of them
        self._told = 0  # events of that one so far
        self._was_interrupted = False
        self._ended: list[tuple[int, _core.Decoder]] = []  # cancelled before their turn came

    @property
    def has_work(self) -> bool:
        """Whether a step would do anything."""
        return bool(self._asked or self._ended)

    @property
    def models(self) -> dict[str, _core.LanguageModel]:
        """By reader; none before the first request."""
        return {name: cache.model for name, cache in self._caches.items()}

    def submit(self, asked: Asked) -> None:
        """Queues a request."""
        if not self._caches:
            opened = self._open_models()
            self._caches = {name: OwnCache(opened[name]) for name in self._panel.names}
        asked.submit_to(self._decoder())  # which says now what is wrong with it
        self._asked.append(asked)

    def step(self, seconds: float) -> Iterator[tuple[int, _core.Event]]:
        """Advances the first request for so long; what is new, with whose it is."""
        while self._ended:
            request, core = self._ended[0]
            core.step()
            del self._ended[0]
            for event in core.take_events():
                yield request, event
        if not self._asked:
            return
        first = self._asked[0]
        if self._running is None:
            self._running, self._told, self._was_interrupted = self._begin(first), 0, False
        if self._was_interrupted and first.params.drafter is None:
            self._replay(first)
        try:
            self._running.step(seconds)
        except BaseException:
            self._was_interrupted = True
            raise
        for event in self._running.take_events():
            if event.finish is not None:
                self._running = None
                self._asked.popleft()
            self._told += 1
            yield first.id, event

    def _replay(self, asked: Asked) -> None:
        """Plays a request that Ctrl-C broke off once more, up to where it was.

        Going on would evaluate in two batches what it otherwise evaluates in one. Only a table of
        drafts, which has learned from the first time, makes another text of it.
        """
        core = self._begin(asked)
        told: list[_core.Event] = []
        while len(told) < self._told:
            core.step()
            told += core.take_events()
        self._running, self._was_interrupted = core, False

    def cancel(self, request: int) -> None:
        """Ends a request; its last event comes with the next step."""
        asked = next((asked for asked in self._asked if asked.id == request), None)
        if asked is None:
            return
        if asked is self._asked[0] and self._running is not None:
            self._running.cancel(0)
            self._was_interrupted = False  # what broke off is not gone on with
            return
        core = self._decoder()
        core.cancel(asked.submit_to(core))
        self._ended.append((request, core))
        self._asked.remove(asked)

    def forget(self) -> None:
        """Drops what the caches hold."""
        for cache in self._caches.values():
            cache.model.forget()

    def _decoder(self) -> _core.Decoder:
        options = _core.DecoderOptions()
        options.prefill_chunk = CHUNK
        options.prefills_whole = True  # in the same batches whatever the first round drafts
        return self._panel.decoder(self.models, options)

    def _begin(self, asked: Asked) -> _core.Decoder:
        """A decoder that knows of no other request, over caches that are as if there was none."""
        for reader, cache in enumerate(self._caches.values()):
            cache.restart(asked.prompt_of(reader))
        core = self._decoder()
        asked.submit_to(core)
        return core


class OwnCache:
    """A model that one request at a time has to itself, and the prompt of the latest."""

    def __init__(self, model: _core.LanguageModel) -> None:
        """A new one, which holds nothing."""
        self.model = model
        self._prompt: Sequence[int] = ()

    def restart(self, prompt: Sequence[int]) -> None:
        """Keeps of the last prompt what evaluating this one anew would compute, bit for bit.

        Of a model of another vocabulary that is nothing: its tokens are evaluated in other batches
        than the target's.
        """
        if not isinstance(self.model, _core.Context):
            self.model.forget()
            return
        kept = prompt[: reusable(self._prompt, prompt)]
        self._prompt = ()
        self.model.keep(kept)
        self._prompt = prompt


def reusable(before: Sequence[int], now: Sequence[int]) -> int:
    """Tokens of a prompt that were evaluated before in the very batches that it would be.

    A prompt is evaluated in chunks, all but its last token, which its first round evaluates. So the
    same prompt is reused whole, and another one up to the last chunk that both have in common.
    """
    most = min(len(before), len(now)) - 1
    common = next((i for i in range(most) if before[i] != now[i]), max(most, 0))
    if common == len(before) - 1 == len(now) - 1:
        return common
    return common // CHUNK * CHUNK
