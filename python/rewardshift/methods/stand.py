"""STAND: samples of one prompt that draft for each other."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

import numpy as np

from rewardshift.tables import NgramTable

from . import checks
from .meter import Meter

if TYPE_CHECKING:
    from rewardshift.decoder import Decoder
    from rewardshift.rewards import Reward
    from rewardshift.shifts import Strength

    from .method import Answer
    from .question import Question


@dataclass(frozen=True, slots=True)
class STAND:
    """Best-of-N whose samples share a table of n-grams that drafts for all of them.

    [notes] (Song et al., EMNLP 2025; not read in the authors' code.) The table holds what followed
    the last 1 to 4 tokens in any sample; trees of drafts come from it without a model, and are
    verified by recursive rejection. Nothing is lost: the samples follow the law of ``BestOfN``'s,
    and with another strength than 0 that of pi*_s.

    The authors' trees of 80 nodes have a shape found offline; here a tree grows where its table
    says that tokens are most likely.

    Args:
        reward: Chooses the best sample; of equals the first.
        n: How many samples.
        strength: The exponent s; 0 samples the target; of several shifts, numbers by name.
        num_draft_tokens: Nodes of a tree.
        tree_width: Its branches. Each takes the place of a request.
    """

    reward: Reward
    _: KW_ONLY
    n: int = 8
    strength: Strength = 0.0
    num_draft_tokens: int = 7
    tree_width: int = 4

    def __post_init__(self) -> None:
        """Checks the parameters."""
        checks.at_least(1, n=self.n, tree_width=self.tree_width)
        checks.at_least(0, num_draft_tokens=self.num_draft_tokens)
        checks.is_strength(self.strength)

    @property
    def name(self) -> str:
        """With n."""
        return checks.label("stand", self, "n")

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        """As ``Method.answer``; ``details`` counts the drafts of all samples."""
        meter, table = Meter(decoder), NgramTable()
        shift = question.draft_tokens if self.strength != 0 else None
        samples = decoder.generate_batch(
            [question.tokens] * self.n,
            draft_prompts=None if shift is None else [shift] * self.n,
            **question.options,
            strength=self.strength,
            num_draft_tokens=self.num_draft_tokens,
            drafter=table,
            tree_width=self.tree_width,
        )
        rewards = meter.score(self.reward, [(question.prompt, sample.text) for sample in samples])
        best = int(np.argmax(rewards))
        return meter.answer_with(
            samples[best],
            details={
                "reward": rewards[best],
                "drafted": sum(sample.statistics.drafted for sample in samples),
                "accepted": sum(sample.statistics.accepted for sample in samples),
                "ngrams": len(table),
            },
        )
