"""TreeBoN: Best-of-N that gives up on poor beginnings."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rewardshift.options import target_only
from rewardshift.results import target_logprobs_of
from rewardshift.rewards import ImplicitReward

from . import checks
from .draws import Draws
from .meter import Meter
from .response import Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.results import Completion
    from rewardshift.rewards import Reward

    from .method import Answer
    from .question import Question, Sampling


@dataclass(frozen=True, slots=True)
class Branch:
    """The beginning of a response.

    Attributes:
        response: Its tokens so far.
        ratios: log q − log r of each.
    """

    response: Response
    ratios: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """The weighted implicit reward: the sum over k of (log q − log r)(y_k) / (k + 1)."""
        return float(sum(ratio / (k + 1) for k, ratio in enumerate(self.ratios)))


@dataclass(frozen=True, slots=True)
class TreeBoN:
    """Tree search over samples of the target, by the pair's implicit reward.

    [notes] (Qiu et al., Findings of EMNLP 2025; not read in the authors' code.) n beginnings of a
    length of max_tokens / layers are sampled. In each layer the best n / children beginnings, by
    the sum over k of (log q − log r)(y_k) / (k + 1), have ``children`` continuations each; of the
    last layer's responses the reward's best wins. Of equals the first wins.

    A beginning that has ended counts as one of the best as it is, and has no children: fewer
    responses are sampled then.

    All samples of a layer are decoded together. Draft and reference read each of them once more, to
    score it, and their beginnings again where they have lost them from their caches.

    Args:
        reward: Chooses among whole responses.
        n: Beginnings in each layer, a multiple of ``children``.
        layers: N_layer.
        children: N_children.
    """

    reward: Reward
    _: KW_ONLY
    n: int = 8
    layers: int = 4
    children: int = 4

    def __post_init__(self) -> None:
        """Checks the parameters."""
        checks.at_least(1, n=self.n, layers=self.layers, children=self.children)
        if self.n % self.children:
            raise ValueError(f"n must be a multiple of children={self.children}, not {self.n}")

    @property
    def name(self) -> str:
        """With n."""
        return checks.label("treebon", self, "n")

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        """As ``Method.answer``; needs draft and reference."""
        question.require_one_prompt(self.name)
        meter, draws, pair = Meter(decoder), Draws(question.seed), ImplicitReward(decoder)
        leaves = [Branch(Response(decoder, question))] * self.n
        sampled = 0
        for layer, length in enumerate(self._lengths(leaves[0].response.room)):
            parents = leaves if layer == 0 else self._parents(leaves)
            growing = [branch for branch in parents if not branch.response.is_complete]
            sampled += len(growing)
            asked = replace(question, seed=draws.seed(), max_tokens=length)
            pieces = iter(_continue(decoder, growing, asked.options))
            leaves = [
                branch if branch.response.is_complete else _grown(branch, next(pieces), pair)
                for branch in parents
            ]
        rewards = meter.score(self.reward, [branch.response.exchange_with() for branch in leaves])
        best = int(np.argmax(rewards))
        return meter.answer(
            **leaves[best].response.as_known(),
            details={"reward": rewards[best], "pieces": sampled},
        )

    def _lengths(self, room: int) -> list[int]:
        """Tokens of each layer; together the room there is, none of them 0."""
        ends = [room * (layer + 1) // self.layers for layer in range(self.layers)]
        return [int(n) for n in np.diff([0, *ends]) if n > 0]

    def _parents(self, leaves: Sequence[Branch]) -> list[Branch]:
        """What goes on: the best, each as often as it is to have children."""
        kept = best(leaves, self.n // self.children)
        return [
            branch
            for branch in kept
            for _ in range(1 if branch.response.is_complete else self.children)
        ]


def best(branches: Sequence[Branch], count: int) -> list[Branch]:
    """Those of the highest value, best first, earlier ones first among equals."""
    return sorted(branches, key=lambda branch: -branch.value)[:count]


def _continue(decoder: Decoder, branches: Sequence[Branch], options: Sampling) -> list[Completion]:
    if not branches:
        return []
    return decoder.generate_batch(
        [branch.response.history for branch in branches], **target_only(**options)
    )


def _grown(branch: Branch, piece: Completion, pair: ImplicitReward) -> Branch:
    ratios = pair.per_token(branch.response.history, piece.tokens)
    longer = branch.response.copy()
    longer.extend(piece.tokens, target_logprobs_of(piece.steps))
    return Branch(longer, (*branch.ratios, *map(float, ratios)))
