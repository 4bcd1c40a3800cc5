"""An oracle for models that remember a state: one token at a time, from the first one on.

Every history is read in a memory that holds nothing else, so that no state is ever taken back,
copied or shared. It runs llama.cpp, as what is tested does; what it must not share is how histories
become calls of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .engine import open_context, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .tiny_recurrent import RecurrentModel


class OneByOne:
    """The oracle of one model; what it was asked before it knows."""

    def __init__(self, model: RecurrentModel) -> None:
        self._context = open_context(model, n_seq_max=1, n_batch=1, n_ubatch=1, n_ctx=512)
        self._known: dict[tuple[int, ...], NDArray[np.float32]] = {}

    def rows(self, tokens: Sequence[int], n: int) -> NDArray[np.float32]:
        """The logits of the last n positions of a history."""
        history = tuple(tokens)
        if history not in self._known:
            self._context.forget()
            read = [rows(self._context, (0, history[:i], 1)) for i in range(1, len(history) + 1)]
            self._known[history] = np.concatenate(read)
        return self._known[history][len(history) - n :]


class Oracles:
    """One for each model."""

    def __init__(self) -> None:
        self._by_path: dict[str, OneByOne] = {}

    def of(self, model: RecurrentModel) -> OneByOne:
        """The oracle of a model."""
        path = str(model.path)
        if path not in self._by_path:
            self._by_path[path] = OneByOne(model)
        return self._by_path[path]
