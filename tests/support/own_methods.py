"""Methods of a user's own, for what runs methods."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewardshift.methods import SSS, BestOfN, TargetOnly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift import Decoder
    from rewardshift.methods import Answer, Method, Question
    from rewardshift.rewards import Exchange


@dataclass(frozen=True, slots=True)
class Own:
    """Another method under a name of its own, which may take its time."""

    name: str
    method: Method
    pause: float = 0.0

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        time.sleep(self.pause)
        return self.method.answer(decoder, question)


def length(exchanges: Sequence[Exchange]) -> list[float]:
    """A reward."""
    return [float(len(response)) for _, response in exchanges]


def target() -> Own:
    return Own("plain s=0", TargetOnly())


def shifted() -> Own:
    return Own("plain s=1", SSS())


def longest() -> Own:
    return Own("longest-of-4", BestOfN(length, n=4))
