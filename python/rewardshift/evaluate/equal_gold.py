"""Best-of-N at equal gold reward: the fair comparison of a method with it.

At one N the two differ in reward and in speed at once. At the N that has the method's reward, only
the speed differs.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .statistics import Interval, bootstrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .statistics import Array, Resampled


@dataclass(frozen=True, slots=True)
class EqualGold:
    """Where Best-of-N has a method's gold reward.

    Attributes:
        n: That N, interpolated; infinite if no measured N has as much.
        speed_up: Tokens a second of the method over those of Best-of-N there; of the largest
            measured N, which is a lower bound, if no measured N has as much.
        largest: The largest measured N.
        smallest: The smallest; ``n`` is this where it has as much already.
    """

    n: Interval
    speed_up: Interval
    largest: int
    smallest: int


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
    prompts = len(method.gold)

    def over_draws(pick: Callable[[float, float], float]) -> Callable[[Resampled], Array]:
        def statistic(drawn: Resampled) -> Array:
            curves = [best_of[n].drawn(drawn) for n in counts]
            golds = np.stack([gold for gold, _ in curves], axis=1)
            costs = np.stack([cost for _, cost in curves], axis=1)
            gold, cost = method.drawn(drawn)
            found = [equal_n(counts, row, g) for row, g in zip(golds, gold, strict=True)]
            there = [cost_at(counts, row, n) for row, n in zip(costs, found, strict=True)]
            return np.array(
                [pick(n, c / own) for n, c, own in zip(found, there, cost, strict=True)]
            )

        return statistic

    return EqualGold(
        n=bootstrap(over_draws(lambda n, _: n), prompts),
        speed_up=bootstrap(over_draws(lambda _, speed_up: speed_up), prompts),
        largest=counts[-1],
        smallest=counts[0],
    )


def equal_n(counts: Sequence[int], golds: Sequence[float] | Array, gold: float) -> float:
    """The least N at which Best-of-N has a gold reward, interpolated in log N.

    Args:
        counts: Measured N, increasing.
        golds: The gold reward of each.
        gold: What is to be reached.

    Returns:
        N; the smallest measured one if that has as much already, infinity if none has.
    """
    if golds[0] >= gold:
        return float(counts[0])
    steps = zip(counts, golds, strict=True)
    for (n, below), (more, above) in itertools.pairwise(steps):
        if above >= gold:
            way = (gold - below) / (above - below)
            return math.exp((1 - way) * math.log(n) + way * math.log(more))
    return math.inf


def cost_at(counts: Sequence[int], costs: Sequence[float] | Array, n: float) -> float:
    """What Best-of-N costs at an N that was not run: interpolated in N, constant beyond."""
    return float(np.interp(n, counts, costs))
