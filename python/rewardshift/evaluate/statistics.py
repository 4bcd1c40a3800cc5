"""What is computed of samples: intervals, win rates, diversity, divergence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = NDArray[np.float64]
Resampled = NDArray[np.intp]
"""Numbers of prompts, [times, prompts]: each row is drawn with replacement."""
Statistic = Callable[[Resampled], Array]
"""Its value for each of those rows, [times]."""

FEWEST_PROMPTS = 10
"""With fewer an interval would be too short: resampling them tells too little of other prompts."""
_TIMES = 2000
_COVERED = (2.5, 97.5)
_LONGEST = 4
"""Words of BLEU's longest n-gram."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % bootstrap interval; NaN at both ends where prompts are too few."""

    value: float
    low: float
    high: float

    def __format__(self, form: str) -> str:
        """Each number in the given form: "1.02 [0.99, 1.05]", or "1.02" without an interval."""
        return self.shown(lambda x: f"{x:{form}}")

    def shown(self, text: Callable[[float], str], unit: str = "") -> str:
        """Like a format, by a function that writes a number, and with a unit behind the value."""
        value = f"{text(self.value)}{unit}"
        return value if math.isnan(self.low) else f"{value} [{text(self.low)}, {text(self.high)}]"


def bootstrap(statistic: Statistic, prompts: int, *, seed: int = 0) -> Interval:
    """A percentile interval over prompts, which are what a user's next question is drawn from.

    Answers to the same prompt are not independent, so prompts are resampled, with all answers of
    all methods to them: what makes a prompt easy cancels where methods are compared. Fewer than
    ``FEWEST_PROMPTS`` have no interval.

    Args:
        statistic: Its value for each row of numbers of prompts, [times].
        prompts: How many there are.
        seed: Of the resampling.

    Raises:
        ValueError: If there are no prompts.
    """
    return intervals(lambda drawn: statistic(drawn)[None], prompts, seed=seed)[0]


def intervals(statistics: Statistic, prompts: int, *, seed: int = 0) -> list[Interval]:
    """Like ``bootstrap``, of several statistics of the same draws: [statistics, times]."""
    if prompts < 1:
        raise ValueError("there are no prompts to take an interval over")
    values = statistics(np.arange(prompts)[None, :])[:, 0]
    if prompts < FEWEST_PROMPTS:
        return [Interval(float(value), math.nan, math.nan) for value in values]
    drawn = np.random.default_rng(seed).integers(prompts, size=(_TIMES, prompts))
    # An observed value, never a mean of two: one of them may be infinite.
    ends = np.percentile(statistics(drawn), _COVERED, axis=1, method="inverted_cdf").T
    return [Interval(float(v), float(a), float(b)) for v, (a, b) in zip(values, ends, strict=True)]


def mean_of(values: Array) -> Statistic:
    """The statistic that is the mean over prompts and seeds; ``values`` is [prompts, seeds]."""
    by_prompt = values.mean(axis=1)
    return lambda drawn: by_prompt[drawn].mean(axis=1)


def ratio_of(above: Array, below: Array) -> Statistic:
    """The statistic that is the ratio of two sums; both are [prompts, seeds]."""
    a, b = above.sum(axis=1), below.sum(axis=1)
    return lambda drawn: a[drawn].sum(axis=1) / b[drawn].sum(axis=1)


def wins(ours: Array, theirs: Array) -> Array:
    """How often ours is better, ties counting half; every answer meets every one to its prompt.

    Args:
        ours: Rewards, [prompts, seeds].
        theirs: Likewise; there may be another number of seeds.

    Returns:
        The share for each prompt, [prompts, 1].
    """
    difference = ours[:, :, None] - theirs[:, None, :]
    won = (difference > 0) + 0.5 * (difference == 0)
    return np.asarray(won.mean(axis=(1, 2), dtype=np.float64))[:, None]


# --- diversity ----------------------------------------------------------------------------------


def words_of(text: str) -> list[str]:
    """A text's words, as diversity counts them: between spaces, in lower case."""
    return text.lower().split()


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams of words by all n-grams of all texts (Li et al., 2016); NaN without any.

    The more text, the lower it is: compare it between methods that answered the same prompts.
    """
    found = [gram for text in texts for gram in _grams(words_of(text), n)]
    return len(set(found)) / len(found) if found else math.nan


def self_bleu(texts: Sequence[str]) -> float:
    """Mean BLEU-4 of each text with all others as references (Zhu et al., 2018); NaN of one text.

    1 where all texts are the same, low where they differ. A precision without a match counts as
    1 / (2 × its n-grams), so that short texts are not all 0; n-grams longer than a text do not
    count.
    """
    if len(texts) < 2:
        return math.nan
    split = [words_of(text) for text in texts]
    scores = [
        _bleu(words, [other for j, other in enumerate(split) if j != i])
        for i, words in enumerate(split)
    ]
    return math.fsum(scores) / len(scores)


def _bleu(words: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """BLEU with several references (Papineni et al., 2002)."""
    if not words:
        return 0.0
    logs = []
    for n in range(1, min(_LONGEST, len(words)) + 1):
        counted = Counter(_grams(words, n))
        allowed: Counter[tuple[str, ...]] = Counter()
        for reference in references:
            allowed |= Counter(_grams(reference, n))  # the most that any reference has
        matched, total = (counted & allowed).total(), counted.total()
        logs.append(math.log(matched / total if matched else 1 / (2 * total)))
    closest = min((len(r) for r in references), key=lambda size: (abs(size - len(words)), size))
    brevity = min(0.0, 1 - closest / len(words))
    return math.exp(brevity + math.fsum(logs) / len(logs))


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


# --- decisions ----------------------------------------------------------------------------------


def decisions(answers: Sequence[tuple[int, int, Sequence[float]]]) -> tuple[Array, Array]:
    """How many decisions accepted, and how many there were, at each position of the draft.

    An answer tells the shares; how many decisions they are of follows from the accepted tokens,
    because a position is reached only where the one before accepted.

    Args:
        answers: Drafted tokens, accepted tokens, and the share at each position.
    """
    longest = max((len(shares) for *_, shares in answers), default=0)
    accepted, decided = np.zeros(longest), np.zeros(longest)
    for drafted, taken, shares in answers:
        # Of the first decisions, those that get to each position.
        reach = np.cumprod([1.0, *shares])
        passed = float(reach[1:].sum())
        first = taken / passed if passed else drafted / max(1, len(shares))
        accepted[: len(shares)] += first * reach[1:]
        decided[: len(shares)] += first * reach[:-1]
    return accepted, decided


def best_of_n_kl(n: int) -> float:
    """The most that Best-of-N diverges from what it samples from: log n − (n − 1) / n, in nats.

    A bound for an answer (Beirami et al., 2024); exact where no two answers are alike.
    """
    return math.log(n) - (n - 1) / n
