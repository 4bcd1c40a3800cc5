"""The contexts of a decoder's readers: one threadpool, and no more contexts than are needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rewardshift import _core
from rewardshift.options import ContextOptions

if TYPE_CHECKING:
    from rewardshift.readers import Panel, Reader


class Contexts:
    """Makes the contexts of a decoder's readers, all on one threadpool."""

    def __init__(self, panel: Panel[_core.Model], options: _core.ContextOptions) -> None:
        """Loads the adapters, and starts the threads.

        Args:
            panel: Who reads; readers of one file have the same model.
            options: For all of them.

        Raises:
            ModelLoadError: If an adapter does not fit its model.
        """
        options.n_threads = options.n_threads or _core.usable_cores()
        self._readers = {reader.name: reader for reader in panel.readers}
        self._contexts: dict[str, _core.Context] = {}
        self._has_heads = any(reader.head is not None for reader in panel.readers)
        self._options = options
        self._n_ctx = options.n_ctx
        self._pool = _core.Threadpool(max(options.n_threads, options.n_threads_batch), options.poll)
        self._adapters = {
            reader.name: _core.Adapter(reader.source, reader.lora.path)
            for reader in panel.readers
            if reader.lora is not None
        }

    @property
    def n_threads(self) -> int:
        """For single rows; of our own work, too."""
        return self._options.n_threads

    def shared(self) -> dict[str, _core.LanguageModel]:
        """A model for each reader, for many requests at once.

        Readers of one file that differ in nothing but what they see share theirs: it evaluates them
        in one batch where it can. Adapters share their file's weights only, and so does the target.

        Raises:
            OutOfMemoryError: If a context does not fit the memory.
        """
        models: dict[str, _core.LanguageModel] = {}
        for reader in self._readers.values():
            if reader.head is not None:
                models[reader.name] = _head_model(models["target"], reader.head)
                continue
            sharers = self._sharers(reader)
            if sharers[0] is reader:
                self._contexts[reader.name] = self._open_shared(reader, n_histories=len(sharers))
                models[reader.name] = self._seen(reader.name, self._contexts[reader.name])
            else:
                self._contexts[reader.name] = self._contexts[sharers[0].name]
                models[reader.name] = models[sharers[0].name]
        if not self._options.kv_unified:
            self._n_ctx = self._contexts["target"].context_size  # of each request
        return models

    def own(self, name: str) -> _core.Context:
        """The shared context of a reader, which speaks the reader's own vocabulary."""
        return self._contexts[name]

    def _open_shared(self, reader: Reader[_core.Model], *, n_histories: int) -> _core.Context:
        own = _core.ContextOptions()
        for option in ContextOptions.__annotations__:
            setattr(own, option, getattr(self._options, option))
        own.n_ctx = self._n_ctx_of(reader)
        own.n_histories = n_histories
        if own.kv_unified:  # else each would need cells of its own
            own.n_seq_max += math.ceil(self._spare_of(reader.name) / n_histories)
        return self._open(reader.name, own)

    def _spare_of(self, name: str) -> int:
        """Sequences of a context in which pieces of tokens are asked about, at once."""
        is_foreign = self._readers[name].vocabulary is not None
        return _SPARE if is_foreign and self._options.kv_unified else 0

    def _n_ctx_of(self, reader: Reader[_core.Model]) -> int:
        """Tokens of a context: another vocabulary may need more for what the target holds."""
        if reader.vocabulary is None:
            return self._n_ctx
        requests = 1 if self._options.kv_unified else self._options.n_seq_max
        held = self._n_ctx or self._contexts["target"].context_size * requests
        return math.ceil(held * reader.vocabulary.expansion)

    def _seen(self, name: str, context: _core.Context) -> _core.LanguageModel:
        """A context as a model of the target's vocabulary."""
        known = self._readers[name].vocabulary
        if known is None:
            return context
        return _core.MappedModel(context, known, spare=self._spare_of(name))

    def _sharers(self, reader: Reader[_core.Model]) -> list[Reader[_core.Model]]:
        """The readers of one context, of which this is one."""
        if reader.role == "target" or reader.lora is not None:
            return [reader]
        return [
            other
            for other in self._readers.values()
            if other.role != "target"
            and other.head is None
            and other.lora is None
            and other.source is reader.source
        ]

    def apart(self, *, n_batch: int) -> dict[str, _core.LanguageModel]:
        """A model for each reader, for one request at a time.

        Nothing but that request decides how its logits are rounded. On the processor attention is
        computed without flash attention, which would add up by thread, and so by how busy the
        machine is.

        Args:
            n_batch: Most tokens evaluated at once.

        Raises:
            OutOfMemoryError: If a context does not fit the memory.
        """
        models: dict[str, _core.LanguageModel] = {}
        for name, reader in self._readers.items():
            if reader.head is None:
                models[name] = self._seen(name, self.own_apart(name, n_batch=n_batch))
            else:
                models[name] = _head_model(models["target"], reader.head)
        return models

    def own_apart(self, name: str, *, n_batch: int) -> _core.Context:
        """Such a context of one reader, which speaks the reader's own vocabulary."""
        own = _core.ContextOptions()
        for option in (
            "n_seq_max",
            "n_threads",
            "n_threads_batch",
            "flash_attn",
            "type_k",
            "type_v",
        ):
            setattr(own, option, getattr(self._options, option))
        own.n_seq_max += self._spare_of(name)
        own.n_ctx = self._n_ctx_of(self._readers[name])
        own.n_batch = min(self._options.n_batch, n_batch)
        own.n_ubatch = min(self._options.n_ubatch, n_batch)
        readers = self._readers.values()
        if own.type_v in _PLAIN_TYPES and all(reader.source.is_on_cpu for reader in readers):
            own.flash_attn = False
        return self._open(name, own)

    def _open(self, name: str, options: _core.ContextOptions) -> _core.Context:
        reader = self._readers[name]
        options.features = reader.role == "target" and self._has_heads
        context = _core.Context(reader.source, options, self._pool)
        if reader.lora is not None:
            context.apply(self._adapters[name], reader.lora.scale)
        return context


def _head_model(
    target: _core.LanguageModel, head: _core.ShiftHead | _core.BaseHead
) -> _core.LanguageModel:
    if isinstance(head, _core.BaseHead):
        return _core.BaseHeadModel(target, head)
    return _core.ShiftHeadModel(target, head)


_SPARE = 16
"""Of a context of another vocabulary: as many pieces as rounds usually ask about."""

_PLAIN_TYPES = ("f32", "f16", "bf16")
"""Of cached values that need no flash attention."""
