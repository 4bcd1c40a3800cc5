"""The contexts of a decoder's roles: one threadpool, and no more contexts than are needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewardshift import _core

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Lora:
    """An adapter that makes the draft of its model: a GGUF file, and a factor on it."""

    path: str
    scale: float


class Contexts:
    """Makes the contexts of a decoder's roles, all on one threadpool."""

    def __init__(
        self,
        models: Mapping[str, _core.Model],
        options: _core.ContextOptions,
        *,
        lora: Lora | None,
    ) -> None:
        """Starts the threads.

        Args:
            models: By role; roles of one file have the same model.
            options: For all of them.
            lora: What makes the draft of its model.
        """
        options.n_threads = options.n_threads or _core.usable_cores()
        self._models = models
        self._options = options
        self._n_ctx = options.n_ctx
        self._pool = _core.Threadpool(max(options.n_threads, options.n_threads_batch))
        self._adapter = None if lora is None else _core.Adapter(models["draft"], lora.path)
        self._lora = lora

    def shared(self) -> dict[str, _core.Context]:
        """A context for each role, for many requests at once.

        Draft and reference of one file that differ in nothing but what they see share theirs: it
        evaluates both in one batch where it can.

        Raises:
            ModelLoadError: If the adapter does not fit.
            OutOfMemoryError: If a context does not fit the memory.
        """
        draft, reference = self._models.get("draft"), self._models.get("reference")
        are_one = draft is not None and draft is reference and self._lora is None
        contexts: dict[str, _core.Context] = {}
        for role in self._models:
            if role == "reference" and are_one:
                contexts[role] = contexts["draft"]
                continue
            self._options.n_histories = 2 if role == "draft" and are_one else 1
            contexts[role] = self._open(role, self._options)
        if not self._options.kv_unified:
            self._n_ctx = contexts["target"].context_size  # of each request
        return contexts

    def apart(self, roles: Iterable[str], *, n_batch: int) -> dict[str, _core.Context]:
        """A context for each of these roles, for one request at a time.

        Nothing but that request decides how its logits are rounded. On the processor attention is
        computed without flash attention, which would add up by thread, and so by how busy the
        machine is.

        Args:
            roles: Some or all.
            n_batch: Most tokens evaluated at once.

        Raises:
            OutOfMemoryError: If a context does not fit the memory.
        """
        own = _core.ContextOptions()
        for name in ("n_seq_max", "n_threads", "n_threads_batch", "flash_attn", "type_k", "type_v"):
            setattr(own, name, getattr(self._options, name))
        own.n_ctx = self._n_ctx
        own.n_batch = min(self._options.n_batch, n_batch)
        own.n_ubatch = min(self._options.n_ubatch, n_batch)
        if own.type_v in _PLAIN_TYPES and all(model.is_on_cpu for model in self._models.values()):
            own.flash_attn = False
        return {role: self._open(role, own) for role in roles}

    def _open(self, role: str, options: _core.ContextOptions) -> _core.Context:
        context = _core.Context(self._models[role], options, self._pool)
        if role == "draft" and self._adapter is not None and self._lora is not None:
            context.apply(self._adapter, self._lora.scale)
        return context


_PLAIN_TYPES = ("f32", "f16", "bf16")
"""Of cached values that need no flash attention."""
