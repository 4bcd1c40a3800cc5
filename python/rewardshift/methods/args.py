"""ARGS: the reward has a say in each token."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

import numpy as np

from rewardshift.options import target_only

from . import checks
from .draws import Draws
from .meter import Meter
from .response import Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.rewards import Reward

    from .method import Answer
    from .question import Question


@dataclass(frozen=True, slots=True)
class ARGS:
    """Reward-guided search, token by token (Khanov et al., ICLR 2024).

    [code: deeplearning-wisc/args, generate_step] Of the target's k most probable tokens each has
    the score logit + w · reward(prompt, response with the token). Greedy ARGS takes the argmax, the
    stochastic one draws from softmax(score / T), T being the answer's temperature. Unlike that
    code, an end-of-generation token ends the response.

    Log-probabilities stand in for logits: the two differ by a constant, which changes neither. A
    token costs the target one evaluation and the reward k texts, which are prefixes.

    Args:
        reward: Scores prefixes of responses.
        k: Candidates for each token, at most the vocabulary.
        w: Weight of the reward.
        stochastic: Draws instead of taking the best; at temperature 0 there is no difference.
    """

    reward: Reward
    _: KW_ONLY
    k: int = 10
    w: float = 1.0
    stochastic: bool = False

    def __post_init__(self) -> None:
        """Checks the parameters."""
        checks.at_least(1, k=self.k)
        checks.finite(w=self.w)
        checks.is_truth(stochastic=self.stochastic)

    @property
    def name(self) -> str:
        """With k and w."""
        return checks.label("args", self, "k", "w")

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        """As ``Method.answer``."""
        meter, draws = Meter(decoder), Draws(question.seed)
        response = Response(decoder, question)
        while not response.is_complete:
            law = self._most_probable(decoder, response.history)
            rewards = meter.score(self.reward, [response.exchange_with([t]) for t in law])
            values = [p + self.w * r for p, r in zip(law.values(), rewards, strict=True)]
            token = list(law)[self._choose(values, question.temperature, draws)]
            response.extend([token], [law[token]])
        return meter.answer(**response.as_known())

    def _most_probable(self, decoder: Decoder, history: Sequence[int]) -> dict[int, float]:
        """Log-probabilities of the target's k most probable next tokens, at temperature 1."""
        sampled = decoder.generate(
            history,
            **target_only(
                max_tokens=1,
                temperature=1.0,
                top_logprobs=min(self.k, decoder.vocab_size),
                seed=0,
                deterministic=False,  # what it draws is not looked at
            ),
        )
        return sampled.steps[0].top_logprobs

    def _choose(self, values: Sequence[float], temperature: float, draws: Draws) -> int:
        if not self.stochastic or temperature == 0:
            return int(np.argmax(values))
        return draws.index([value / temperature for value in values])
