"""The contexts of a decoder's roles: one threadpool, and no more contexts than are needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardshift import _core

if TYPE_CHECKING:
    from collections.abc import Mapping


def open_contexts(
    models: Mapping[str, _core.Model],
    options: _core.ContextOptions,
    *,
    draft_lora: str | None,
    draft_lora_scale: float,
) -> dict[str, _core.Context]:
    """A context for each role.

    Draft and reference of one file that differ in nothing but what they see share theirs: it
    evaluates both in one batch where it can.

    Args:
        models: By role; roles of one file have the same model.
        options: For all of them.
        draft_lora: GGUF file of the adapter that makes the draft of its model.
        draft_lora_scale: Factor on it.

    Raises:
        ModelLoadError: If the adapter does not fit.
        OutOfMemoryError: If a context does not fit the memory.
    """
    threads = options.n_threads or _core.usable_cores()
    pool = _core.Threadpool(max(threads, options.n_threads_batch))
    options.n_threads = threads

    def context(role: str, *, histories: int = 1) -> _core.Context:
        options.n_histories = histories
        return _core.Context(models[role], options, pool)

    contexts = {"target": context("target")}
    if "draft" not in models:
        return contexts
    shared = draft_lora is None and models["draft"] is models.get("reference")
    contexts["draft"] = context("draft", histories=2 if shared else 1)
    if draft_lora is not None:
        adapter = _core.Adapter(models["draft"], draft_lora)
        contexts["draft"].apply(adapter, draft_lora_scale)
    if "reference" in models:
        contexts["reference"] = contexts["draft"] if shared else context("reference")
    return contexts
