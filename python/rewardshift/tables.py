"""Tables: a model whose law is known exactly, and drafts from what was said before."""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING

from . import _core
from .boundary import (
    NO_SEQUENCE,
    StaysHere,
    called,
    require_number,
    require_whole,
    shown,
    token_ids,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np


class TableModel(_core.TableModel):
    """A Markov chain whose logits are a table.

    Example:
        >>> import numpy as np
        >>> coin = TableModel(np.zeros((1, 2), dtype=np.float32), pieces=["heads ", "tails "])
        >>> coin.vocab_size
        2
    """

    def __init__(
        self,
        logits: np.ndarray,
        *,
        order: int = 0,
        end_of_generation: Iterable[int] = (),
        pieces: Sequence[str] = (),
        fails_on: Iterable[int] = (),
        max_sequences: int = 16,
        context_size: int = 4096,
        batch_seconds: float = 0.0,
        features: np.ndarray | None = None,
    ) -> None:
        """Copies the table.

        Args:
            logits: float32 of shape (vocab_size ** order, vocab_size); the row of a history is the
                number that its last ``order`` tokens spell in base vocab_size.
            order: How many tokens of a history count.
            end_of_generation: Tokens that end a response.
            pieces: The text of each token; none means no text.
            fails_on: Tokens in whose histories evaluation raises EvaluationError, to rehearse
                failures.
            max_sequences: Requests decoded at the same time.
            context_size: Tokens that they hold together.
            batch_seconds: What each batch takes at least, to rehearse slow models.
            features: float32 of shape (rows of the table, n): what heads read there.

        Raises:
            ValueError: If the table's size does not fit vocabulary and order.
        """
        require_whole(order=order, max_sequences=max_sequences, context_size=context_size)
        require_number(batch_seconds=batch_seconds)
        if not 0 <= batch_seconds < math.inf:
            raise ValueError(f"batch_seconds must be at least 0, and finite, not {batch_seconds}")
        if isinstance(pieces, NO_SEQUENCE):
            raise TypeError(f"pieces must be a list of texts, not {shown(pieces)}")
        called(
            "TableModel",
            super().__init__,
            logits=logits,
            order=order,
            end_of_generation=_set_of(end_of_generation, "end_of_generation"),
            pieces=pieces,
            fails_on=_set_of(fails_on, "fails_on"),
            max_sequences=max_sequences,
            context_size=context_size,
            features=features,
            batch_seconds=batch_seconds,
        )

    def logits(self, histories: Sequence[tuple[int, Sequence[int], int]]) -> np.ndarray:
        """Logits of the last n positions of (sequence, tokens, n) histories.

        Returns:
            float32 of shape (sum of n, vocab_size).
        """
        return called("logits", super().logits, histories=histories)

    def piece(self, token: int) -> bytes:
        """The bytes that a token adds to the text."""
        require_whole(token=token)
        return called("piece", lambda token: _core.TableModel.piece(self, token), token=token)

    def is_end_of_generation(self, token: int) -> bool:
        """Whether a token ends a response."""
        require_whole(token=token)
        return called("is_end_of_generation", super().is_end_of_generation, token=token)

    __reduce__ = StaysHere.__reduce__


class NgramTable(_core.NgramTable):
    """What was seen to follow the last few tokens: the option ``drafter``.

    Example:
        >>> table = NgramTable()
        >>> table.add([1, 2], [(3, 0.75), (4, 0.25)])
        >>> table.after([5, 2])
        [(3, 0.75), (4, 0.25)]
    """

    def __init__(self) -> None:
        """Has seen nothing."""
        super().__init__()

    def add(self, history: Sequence[int], next: Sequence[tuple[int, float]]) -> None:  # noqa: A002
        """Notes a sighting.

        Args:
            history: Token ids.
            next: The most probable tokens after it, with their probabilities.
        """
        before = token_ids(history, "history must be token ids, not")
        called("add", super().add, history=before, next=next)

    def after(self, history: Sequence[int]) -> list[tuple[int, float]]:
        """The average of what followed the longest ending of a history that was ever seen.

        Returns:
            Up to 10 pairs of token and probability, most probable first. Endings are of 4 tokens at
            most.
        """
        before = token_ids(history, "history must be token ids, not")
        return called("after", super().after, history=before)

    def __len__(self) -> int:
        """How many n-grams were seen."""
        return super().__len__()

    __reduce__ = StaysHere.__reduce__


def _set_of(tokens: Iterable[int], name: str) -> set[int]:
    given = list(tokens) if isinstance(tokens, AbstractSet) else tokens
    return set(token_ids(given, f"{name} must be token ids, not"))
