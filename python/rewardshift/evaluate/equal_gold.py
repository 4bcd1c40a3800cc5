"""Best-of-N at equal gold reward: the fair comparison of a method with it.

At one N the two differ in reward and in speed at once. At the N that has the method's reward, only
the speed differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .statistics import Interval, intervals

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .statistics import Array, Resampled


@dataclass(frozen=True, slots=True)
class EqualGold:
    """Where Best-of-N has a method's gold reward.

    Attributes:
        n: That N, interpolated; infinite if no measured N has as much, 0 if the smallest has more.
        speed_up: Tokens a second of the method over those of Best-of-N there; infinite and 0 where
            ``n`` is.
        largest: The largest measured N.
        smallest: The smallest.
        at_largest: The speed-up over the largest: what an infinite one is at least.
        at_smallest: That over the smallest: what one of 0 is at most.
    """

    n: Interval
    speed_up: Interval
    largest: int
    smallest: int
    at_largest: float
    at_smallest: float


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What a method gave and took.

    Attributes:
        gold: Gold rewards, [prompts, seeds].
        tokens: Tokens of the answers, likewise.
        seconds: Their wall time, likewise.
    """

    gold: Array
    tokens: Array
    seconds: Array

    def drawn(self, prompts: Resampled) -> tuple[Array, Array]:
        """Mean gold reward, and seconds a token, for each row of numbers of prompts; [times]."""
        gold = self.gold.mean(axis=1)[prompts].mean(axis=1)
        seconds = self.seconds.sum(axis=1)[prompts].sum(axis=1)
        return gold, seconds / self.tokens.sum(axis=1)[prompts].sum(axis=1)


def equal_gold(best_of: Mapping[int, Outcomes], method: Outcomes) -> EqualGold:
    """Compares a method with Best-of-N where it has the method's gold reward.

    Args:
        best_of: Outcomes of Best-of-N by N; of one N at least.
        method: Those of the method, on the same prompts.

    Raises:
        ValueError: If no N was measured.
    """
    if not best_of:
        raise ValueError("there is no Best-of-N to compare with")
    counts = sorted(best_of)

    def compared(drawn: Resampled) -> Array:
        """N, the speed-up there, and those at the smallest and the largest N; [4, times]."""
        curves = [best_of[n].drawn(drawn) for n in counts]
        golds = np.stack([gold for gold, _ in curves], axis=1)
        costs = np.stack([cost for _, cost in curves], axis=1)
        gold, cost = method.drawn(drawn)
        n = equal_n(counts, golds, gold)
        there = np.where((n > 0) & np.isfinite(n), cost_at(counts, costs, n), n)
        return np.stack([n, there / cost, costs[:, 0] / cost, costs[:, -1] / cost])

    n, speed_up, at_smallest, at_largest = intervals(compared, len(method.gold))
    return EqualGold(
        n=n,
        speed_up=speed_up,
        largest=counts[-1],
        smallest=counts[0],
        at_largest=at_largest.value,
        at_smallest=at_smallest.value,
    )


def rising(values: Array) -> Array:
    """The curves that never fall and are nearest to those given, by squares; isotonic regression.

    More samples cannot make the expected best worse, so what falls is noise. Without this, the
    first of several noisy values that happens to be high enough would count as the N: too small a
    one.

    Args:
        values: [times, N].

    Returns:
        Likewise: at i, the largest over a ≤ i of the smallest over b ≥ i of the mean of a to b
        (Barlow et al., 1972).
    """
    places = range(values.shape[1])
    mean = {(a, b): values[:, a : b + 1].mean(axis=1) for a in places for b in places[a:]}
    smoothed = [
        np.max([np.min([mean[a, b] for b in places[i:]], axis=0) for a in places[: i + 1]], axis=0)
        for i in places
    ]
    return np.stack(smoothed, axis=1)


def equal_n(counts: Sequence[int], golds: Array, gold: Array) -> Array:
    """The least N at which Best-of-N has a gold reward, interpolated in log N on a rising curve.

    Args:
        counts: Measured N, increasing.
        golds: The gold reward of each, [times, N].
        gold: What is to be reached, [times].

    Returns:
        N, [times]; infinity if none has as much, 0 if the smallest has more already.
    """
    curve = rising(golds)
    short = (curve < gold[:, None]).sum(axis=1)  # how many N have too little
    before, after = np.maximum(short - 1, 0), np.minimum(short, len(counts) - 1)
    below, above = (np.take_along_axis(curve, i[:, None], axis=1)[:, 0] for i in (before, after))
    way = (gold - below) / np.where(above > below, above - below, 1.0)
    n = np.log(counts)
    found = np.exp(n[before] + np.where(before < after, way, 0.0) * (n[after] - n[before]))
    found = np.where(gold < curve[:, 0], 0.0, found)
    return np.where(short == len(counts), np.inf, found)


def cost_at(counts: Sequence[int], costs: Array, n: Array) -> Array:
    """What Best-of-N costs at an N that was not run: interpolated in N, constant beyond.

    Args:
        counts: Measured N, increasing.
        costs: The cost of each, [times, N].
        n: Which N, [times].

    Returns:
        The cost, [times].
    """
    # np.interp takes one curve; the weights of the N beside n do for all.
    weights = np.stack([np.interp(n, counts, row) for row in np.eye(len(counts))], axis=1)
    return np.asarray((weights * costs).sum(axis=1))
