"""The random numbers of one answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


class Draws:
    """All random numbers of one answer, in the order they are asked for.

    What a method draws itself comes from here, and so do the seeds of its requests.
    """

    def __init__(self, seed: int) -> None:
        """From a seed of at least 0."""
        self._rng = np.random.default_rng(seed)

    def seed(self) -> int:
        """A seed for a request, or for a batch of them."""
        return int(self._rng.integers(2**63))

    def uniform(self) -> float:
        """In [0, 1)."""
        return float(self._rng.random())

    def index(self, log_weights: Sequence[float]) -> int:
        """An index, drawn from softmax(log_weights); one of them at least is above -inf."""
        values = np.asarray(log_weights, dtype=np.float64)
        weights = np.exp(values - values.max())
        return int(np.searchsorted(np.cumsum(weights), self.uniform() * weights.sum(), "right"))
