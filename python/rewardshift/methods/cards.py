"""CARDS: the response grows by segments, each accepted or rejected by its reward."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rewardshift.options import target_only
from rewardshift.results import target_logprobs_of
from rewardshift.rewards import scores

from . import checks
from .draws import Draws
from .meter import Meter
from .question import Question
from .response import Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.results import TokenInfo
    from rewardshift.rewards import Reward

    from .method import Answer


@dataclass(frozen=True, slots=True)
class CARDS:
    """Cascade reward sampling (Li et al., COLM 2025), in its soft variant.

    [code: lblaoke/CARDS, seg_rs_generate] A segment of the target ends where it has at least 4
    tokens and the entropy of the next one (nats, at temperature 1) is at least tau_u, or after 64
    tokens. With R(x) the reward of the response so far it is accepted with probability

        min(1, exp((R(response + segment) − tau) / beta)),
        tau = min(r*, r0 + n · (r* − r0) / max_tokens),  r0 = (1 − alpha) · R("") + alpha · r*,

    n being the tokens of the response with the segment. After 20 rejections in a row one more
    candidate is drawn and the best of the 21 is taken.

    Unlike that code, an end-of-generation token ends segment and response, segments keep within
    max_tokens, the temperature is the answer's (theirs is beta), and nothing is truncated (theirs
    is to the top 40).

    The entropy comes with the draw of the next token, which then is not used: it costs nothing but
    a pass over the vocabulary.

    Args:
        reward: Scores prefixes of responses.
        r_star: r*, the reward to aim at, on the reward's own scale; ``calibrated`` finds one.
        alpha: How far towards r* the first threshold is.
        beta: Temperature of the acceptance, on the reward's scale; towards 0 it is a hard
            threshold.
        tau_u: Entropy at which a segment ends, in nats.
        least: Tokens of a segment before entropy may end it.
        most: Tokens after which it ends.
        rejections: In a row, after which the best candidate is taken.
    """

    reward: Reward
    _: KW_ONLY
    r_star: float | None = None
    alpha: float = 0.5
    beta: float = 0.7
    tau_u: float = 3.0
    least: int = 4
    most: int = 64
    rejections: int = 20

    def __post_init__(self) -> None:
        """Checks the parameters."""
        if self.r_star is not None:
            checks.finite(r_star=self.r_star)
        checks.within(0, 1, alpha=self.alpha)
        checks.positive(beta=self.beta)
        checks.finite(tau_u=self.tau_u)
        checks.at_least(1, least=self.least, most=self.most)
        checks.at_least(0, rejections=self.rejections)

    @property
    def name(self) -> str:
        """With r*."""
        return checks.label("cards", self, "r_star")

    def calibrated(
        self,
        decoder: Decoder,
        prompts: Sequence[tuple[str, Sequence[int]]],
        *,
        seed: int,
        max_tokens: int,
        temperature: float,
    ) -> CARDS:
        """The same with r* by ``calibrate``."""
        r_star = calibrate(
            decoder,
            self.reward,
            prompts,
            seed=seed,
            max_tokens=max_tokens,
            temperature=temperature,
        )
        return replace(self, r_star=r_star)

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        """As ``Method.answer``.

        Raises:
            ValueError: Also if r* is not known.
        """
        if self.r_star is None:
            raise ValueError("CARDS needs r_star, on the reward's scale: see CARDS.calibrated")
        meter, draws = Meter(decoder), Draws(question.seed)
        response = Response(decoder, question)
        empty = meter.score(self.reward, [(question.prompt, "")])[0]
        rejected = segments = forced = 0
        candidates: list[tuple[float, list[TokenInfo]]] = []
        while not response.is_complete:
            segment = self._segment(decoder, response.next_piece(self.most, draws.seed()))
            ids = [step.id for step in segment]
            reward = meter.score(self.reward, [response.exchange_with(ids)])[0]
            candidates.append((reward, segment))
            n = len(response.tokens) + len(ids)
            tau = self._threshold(self.r_star, empty, n, question.max_tokens)
            if len(candidates) > self.rejections:
                segment = max(candidates, key=lambda candidate: candidate[0])[1]
                forced += 1
            elif draws.uniform() >= math.exp(min(0.0, (reward - tau) / self.beta)):
                rejected += 1
                continue
            segments += 1
            candidates = []
            response.extend([step.id for step in segment], target_logprobs_of(segment))
        counts = {"segments": segments, "rejections": rejected, "forced": forced}
        return meter.answer(**response.as_known(), details=counts)

    def _threshold(self, r_star: float, empty: float, n: int, max_tokens: int) -> float:
        first = (1 - self.alpha) * empty + self.alpha * r_star
        return min(r_star, first + n * (r_star - first) / max_tokens)

    def _segment(self, decoder: Decoder, piece: Question) -> list[TokenInfo]:
        steps: list[TokenInfo] = []
        options = target_only(**piece.options, entropy=True)
        with decoder.stream(piece.tokens, **options) as stream:
            for step in (step for chunk in stream for step in chunk.tokens):
                if len(steps) >= self.least and (step.target_entropy or 0.0) >= self.tau_u:
                    break  # the law that this token was drawn from decides, whatever it is
                steps.append(step)
        return steps


def calibrate(
    decoder: Decoder,
    reward: Reward,
    prompts: Sequence[tuple[str, Sequence[int]]],
    *,
    seed: int,
    max_tokens: int,
    temperature: float,
    quantile: float = 0.9,
    samples: int = 4,
) -> float:
    """A target reward r* for ``CARDS``: a quantile of what the target's own samples get.

    The authors set it by hand, for their reward model. This is ours: a reward that the target
    reaches now and then, so that segments are accepted at a fair rate.

    Args:
        decoder: Whose target to sample.
        reward: The one that CARDS is to use.
        prompts: The user's text and the rendered tokens of each; not those it is evaluated on.
        seed: Of the samples.
        max_tokens: Longest sample.
        temperature: Of the sampling.
        quantile: Of the rewards of all samples, from 0 to 1.
        samples: Of each prompt.

    Raises:
        ValueError: For arguments out of range, with the value.
    """
    checks.within(0, 1, quantile=quantile)
    checks.at_least(1, samples=samples)
    if not prompts:
        raise ValueError("there are no prompts to calibrate with")
    questions = [
        Question(text, tokens, seed=seed, max_tokens=max_tokens, temperature=temperature)
        for text, tokens in prompts
        for _ in range(samples)
    ]
    found = decoder.generate_batch(
        [question.tokens for question in questions], **target_only(**questions[0].options)
    )
    texts = [(q.prompt, sample.text) for q, sample in zip(questions, found, strict=True)]
    return float(np.quantile(scores(reward, texts), quantile))
