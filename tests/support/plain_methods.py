"""The two simplest methods, to test with what runs methods."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewardshift.methods import Answer
from rewardshift.options import target_only

if TYPE_CHECKING:
    from rewardshift import Decoder
    from rewardshift.methods import Question


@dataclass(frozen=True, slots=True)
class Plain:
    """One sample of pi*, with drafts of 3; the target's own at strength 0."""

    strength: float = 0.0
    pause: float = 0.0

    @property
    def name(self) -> str:
        return f"plain s={self.strength:g}"

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        start = time.perf_counter()
        time.sleep(self.pause)
        found = decoder.generate(
            question.tokens,
            strength=self.strength,
            num_draft_tokens=3 if self.strength else 0,
            **question.options,
        )
        rounds = found.statistics.rounds
        return Answer(
            text=found.text,
            tokens=found.tokens,
            finish_reason=found.finish_reason,
            seconds=time.perf_counter() - start,
            evaluated={"target": found.statistics.drafted + rounds},
            calls={"target": rounds},
            target_logprobs=tuple(step.target_logprob for step in found.steps),
            goal_logprobs=found.logprobs,
            drafted=found.statistics.drafted,
            accepted=found.statistics.accepted,
            acceptance_by_position=found.statistics.acceptance_by_position,
            log_z=tuple(step.log_z for step in found.steps if step.log_z is not None),
        )


@dataclass(frozen=True, slots=True)
class LongestOf:
    """The longest text of n."""

    n: int

    @property
    def name(self) -> str:
        return f"longest-of-{self.n}"

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        start = time.perf_counter()
        found = decoder.generate_batch(
            [question.tokens] * self.n, **target_only(**question.options)
        )
        best = max(found, key=lambda completion: len(completion.text))
        return Answer(
            text=best.text,
            tokens=best.tokens,
            finish_reason=best.finish_reason,
            seconds=time.perf_counter() - start,
            evaluated={"target": sum(len(c.tokens) for c in found), "reward": self.n},
            calls={"target": max(len(c.tokens) for c in found), "reward": 1},
            target_logprobs=tuple(step.target_logprob for step in best.steps),
        )


def target() -> Plain:
    return Plain()


def shifted() -> Plain:
    return Plain(1.0)


def longest() -> LongestOf:
    return LongestOf(4)
