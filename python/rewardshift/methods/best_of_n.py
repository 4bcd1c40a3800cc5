"""Best-of-N: many whole responses of the target, of which the reward chooses."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

import numpy as np

from rewardshift.options import target_only

from . import checks
from .draws import Draws
from .meter import Meter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.rewards import Reward

    from .method import Answer
    from .question import Question


@dataclass(frozen=True, slots=True)
class BestOfN:
    """One of n samples of the target: the best, or one drawn by its reward.

    Best-of-N [code: lblaoke/CARDS, bon_generate] takes the argmax of the reward; of equals the
    first wins. Soft Best-of-N [notes] draws from softmax(beta · reward); its law approaches
    p · exp(beta · reward), normalised, as n grows.

    The samples are decoded together, so that their prompt is evaluated once; the first of them is
    what ``TargetOnly`` says with the same seed.

    Args:
        reward: Chooses.
        n: How many samples.
        beta: Of the softmax; None takes the argmax.
    """

    reward: Reward
    _: KW_ONLY
    n: int = 8
    beta: float | None = None

    def __post_init__(self) -> None:
        """Checks the parameters."""
        checks.at_least(1, n=self.n)
        if self.beta is not None:
            checks.positive(beta=self.beta)

    @property
    def name(self) -> str:
        """With n and beta."""
        hard = f"best-of-{self.n}"
        return hard if self.beta is None else f"soft-{hard} beta={self.beta:g}"

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        """As ``Method.answer``."""
        meter = Meter(decoder)
        samples = decoder.generate_batch(
            [question.tokens] * self.n, **target_only(**question.options)
        )
        rewards = meter.score(self.reward, [(question.prompt, sample.text) for sample in samples])
        chosen = self._choose(rewards, question.seed)
        return meter.answer_with(samples[chosen], details={"reward": rewards[chosen]})

    def _choose(self, rewards: Sequence[float], seed: int) -> int:
        if self.beta is None:
            return int(np.argmax(rewards))
        return Draws(seed).index([self.beta * reward for reward in rewards])


def soft_best_of_n(reward: Reward, *, n: int = 8, beta: float = 20.0) -> BestOfN:
    """Soft Best-of-N, with the beta of ``GSI`` unless given: it suits rewards from 0 to 1."""
    return BestOfN(reward, n=n, beta=beta)
