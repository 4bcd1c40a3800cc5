"""Guided speculative inference, and reward-guided speculative decoding: drafts of whole steps."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, ClassVar

from rewardshift.options import target_only
from rewardshift.results import target_logprobs_of

from . import checks
from .draws import Draws
from .meter import Meter
from .response import Response

if TYPE_CHECKING:
    from rewardshift.decoder import Decoder, Role
    from rewardshift.results import Completion
    from rewardshift.rewards import Reward

    from .method import Answer
    from .question import Question


@dataclass(frozen=True, slots=True)
class Candidates:
    """Steps that may come next, and what speaks for each.

    Attributes:
        steps: As they were decoded.
        rewards: Of the response with the step.
        tilts: log p_B − log p_S of the step; zeros where it does not count.
        target_logprobs: log p_B of its tokens at temperature 1; empty where not known.
    """

    steps: list[Completion]
    rewards: list[float]
    tilts: list[float]
    target_logprobs: list[tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class GSI:
    """Guided speculative inference (Geuter et al., 2025): the draft proposes reasoning steps.

    [code: j-geuter/GSI, run_reward_tilted_decoding] A step ends at a blank line. n steps y_i are
    drawn from the draft S; one of them, drawn from softmax(beta · r~) with

        r~_i = R(response + y_i) + (1/beta) · (log p_B(y_i) − log p_S(y_i)),

    is appended if its r~ is at least u. Else n steps are drawn from the target B, and one of them,
    drawn from softmax(beta · R), is appended. As n grows, the law of a step whose r~ always
    suffices approaches p_B · exp(beta · R), normalised.

    p_B and p_S are the laws that are sampled at the answer's temperature. Unlike that code, there
    is no stop where all rewards are low, nor at a boxed answer. The target scores the candidates
    one after another, each in one batch of its tokens. The defaults suit rewards from 0 to 1, at
    temperature 0.7.

    ``Answer.drafted`` counts the tokens of steps that were put to the test, ``accepted`` those of
    steps that passed.

    Args:
        reward: Scores prefixes of responses.
        n: Candidates for a step.
        beta: Inverse temperature of the choice.
        u: Least r~ of a step of the draft's.
        step_end: What ends a step.
        step_tokens: Tokens after which it ends.
        proposer: The role that proposes.
    """

    kind: ClassVar[str] = "gsi"

    reward: Reward
    _: KW_ONLY
    n: int = 16
    beta: float = 20.0
    u: float = 0.5
    step_end: str = "\n\n"
    step_tokens: int = 512
    proposer: Role = "draft"
    tilted: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        """Checks the parameters."""
        checks.at_least(1, n=self.n, step_tokens=self.step_tokens)
        checks.positive(beta=self.beta)
        if not isinstance(self.u, (int, float)) or math.isnan(self.u):
            raise ValueError(f"u must be a number, not {self.u!r}")
        if not self.step_end:
            raise ValueError("step_end must be some text, not ''")
        if self.proposer not in ("draft", "reference"):
            raise ValueError(f"proposer must be draft or reference, not {self.proposer!r}")

    @property
    def name(self) -> str:
        """With n, beta and u."""
        return checks.label(self.kind, self, "n", "beta", "u")

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        """As ``Method.answer``; needs the role that proposes."""
        question.require_one_prompt(self.name)
        asking = _Asking(self, decoder, question)
        response = Response(decoder, question)
        drafted: list[int] = []
        accepted: list[int] = []
        while not response.is_complete:
            proposed = asking.proposals(response)
            chosen = asking.choose(proposed)
            drafted.append(len(proposed.steps[chosen].tokens))
            if asking.value(proposed, chosen) >= self.u:
                accepted.append(drafted[-1])
            else:
                proposed = asking.own_steps(response)
                chosen = asking.choose(proposed)
            response.extend(proposed.steps[chosen].tokens, proposed.target_logprobs[chosen])
        return asking.meter.answer(
            **response.as_known(),
            drafted=sum(drafted),
            accepted=sum(accepted),
            details={"steps": len(drafted), "steps_accepted": len(accepted)},
        )


@dataclass(frozen=True, slots=True)
class RSD(GSI):
    """Reward-guided speculative decoding (Liao et al., 2025): ``GSI`` that asks the reward alone.

    [code: j-geuter/GSI, run_reward_threshold_decoding, which is RSD adapted to n candidates] As
    ``GSI`` with R in place of r~ everywhere, and u = 0.7. The target reads no step that it does
    not write, so that its log-probabilities of the others are not known.
    """

    kind: ClassVar[str] = "rsd"

    _: KW_ONLY
    u: float = 0.7
    tilted: bool = field(default=False, init=False)


class _Asking:
    """One question to a GSI: what it draws, and what it costs."""

    def __init__(self, method: GSI, decoder: Decoder, question: Question) -> None:
        self.meter = Meter(decoder)
        self._draws = Draws(question.seed)
        self._method = method
        self._temperature = question.temperature
        self._target = decoder.alone("target")
        if decoder.has_own_vocabulary(method.proposer):
            raise ValueError(
                f"the {method.proposer} has another vocabulary than the target, which cannot read "
                "steps in its tokens"
            )
        self._proposer = decoder.alone(method.proposer)
        # Ids that only one of the models has are for neither.
        self._size = decoder.vocab_size

    def proposals(self, response: Response) -> Candidates:
        """Steps of the small model's, with what the target thinks of them if that counts."""
        steps, rewards = self._steps(self._proposer, response)
        if not self._method.tilted:
            unknown: list[tuple[float, ...]] = [()] * len(steps)
            return Candidates(steps, rewards, [0.0] * len(steps), unknown)
        tilts, logprobs = [], []
        for step in steps:
            score = self._target.score(response.history, step.tokens, temperature=self._temperature)
            tilts.append(score.goal_logprob - math.fsum(step.logprobs))
            logprobs.append(tuple(map(float, score.target_logprobs)))
        return Candidates(steps, rewards, tilts, logprobs)

    def own_steps(self, response: Response) -> Candidates:
        """Steps of the target's own."""
        steps, rewards = self._steps(self._target, response)
        logprobs = [target_logprobs_of(step.steps) for step in steps]
        return Candidates(steps, rewards, [0.0] * len(steps), logprobs)

    def value(self, candidates: Candidates, i: int) -> float:
        """The candidate's r~."""
        return candidates.rewards[i] + candidates.tilts[i] / self._method.beta

    def choose(self, candidates: Candidates) -> int:
        """The index of a candidate, drawn from softmax(beta · r~)."""
        values = [self._method.beta * self.value(candidates, i) for i in range(self._method.n)]
        return 0 if max(values) == -math.inf else self._draws.index(values)

    def _steps(self, model: Decoder, response: Response) -> tuple[list[Completion], list[float]]:
        foreign = range(self._size, model.vocab_size)
        piece = response.next_piece(self._method.step_tokens, self._draws.seed())
        steps = model.generate_batch(
            [piece.tokens] * self._method.n,
            **target_only(
                **piece.options,
                stop=self._method.step_end,
                logit_bias=dict.fromkeys(foreign, -math.inf),
            ),
        )
        exchanges = [response.exchange_with(step.tokens) for step in steps]
        return steps, self.meter.score(self._method.reward, exchanges)
