"""A quantity measured several times."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Range:
    """Median, smallest and largest of the repetitions.

    ``format(range, ".2f")`` is "1.02 (0.99–1.05)".
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Range:
        """Of at least one value; raises ValueError without any."""
        if not values:
            raise ValueError("there is nothing to take the median of")
        return cls(statistics.median(values), min(values), max(values))

    def __format__(self, form: str) -> str:
        """Each number in the given form."""
        return f"{self.median:{form}} ({self.low:{form}}–{self.high:{form}})"


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Quotients repetition by repetition, so that what slows both cancels.

    Raises:
        ValueError: If one was repeated more often than the other.
    """
    return [a / b if b else math.nan for a, b in zip(above, below, strict=True)]
