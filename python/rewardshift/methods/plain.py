"""One sample: of the target, of pi* token by token, and of pi* by speculation."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from rewardshift import _core
from rewardshift.options import target_only

from . import checks
from .meter import Meter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Unpack

    from rewardshift.decoder import Decoder
    from rewardshift.options import RuleName, SamplingOptions
    from rewardshift.shifts import Strength

    from .method import Answer
    from .question import Question


@dataclass(frozen=True, slots=True)
class TargetOnly:
    """The target as it is, decoded token by token: p."""

    @property
    def name(self) -> str:
        """As the command line knows it."""
        return "target"

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        """As ``Method.answer``."""
        return _sample(decoder, question, **target_only())


@dataclass(frozen=True, slots=True)
class ThreeModel:
    """Proxy tuning, or emulated fine-tuning: pi*_s token by token, with three models.

    [code: alisawuffles/proxy-tuning] softmax((z_p + s (z_q − z_r)) / T). It is the law of ``SSS``
    with rule "exact", without speculation.

    Args:
        strength: The exponent s; of several shifts, numbers by name; None is each one's default.
    """

    strength: Strength = 1.0

    def __post_init__(self) -> None:
        """Checks the strength."""
        checks.is_strength(self.strength)

    @property
    def name(self) -> str:
        """With the strength."""
        return f"three-model s={checks.shown_strength(self.strength)}"

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        """As ``Method.answer``."""
        options: SamplingOptions = {"strength": self.strength, "num_draft_tokens": 0}
        return _sample(decoder, question, question.draft_tokens, **options)


@dataclass(frozen=True, slots=True)
class SSS:
    """Reward-shifted speculative sampling (Li et al., EMNLP 2025), as this package decodes.

    Strength 0 is lossless speculative sampling of the target.

    Args:
        strength: The exponent s of pi* ∝ p · (q/r)^s; of several shifts, numbers by name; None is
            each one's default.
        rule: "exact" samples pi*_s; "paper" follows the paper's equations 6 and 7; "speculative"
            needs strength 0.
        num_draft_tokens: Tokens drafted a round; None is 3, as for every request with a seed.
    """

    strength: Strength = 1.0
    _: KW_ONLY
    rule: RuleName = "exact"
    num_draft_tokens: int | None = None

    def __post_init__(self) -> None:
        """Checks the parameters."""
        checks.is_strength(self.strength)
        if self.rule not in ("exact", "paper", "speculative"):
            raise ValueError(f"rule must be exact, paper or speculative, not {self.rule!r}")
        if self.rule == "speculative" and self.strength != 0:
            raise ValueError(f"strength must be 0 with rule speculative, not {self.strength!r}")
        if self.num_draft_tokens is not None:
            checks.at_least(0, num_draft_tokens=self.num_draft_tokens)

    @property
    def name(self) -> str:
        """With rule, strength and draft length."""
        k = self.num_draft_tokens
        if k is None:
            k = _core.DecoderOptions().num_draft_tokens
        return f"sss {self.rule} s={checks.shown_strength(self.strength)} K={k}"

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        """As ``Method.answer``."""
        return _sample(
            decoder,
            question,
            question.draft_tokens,
            strength=self.strength,
            rule=self.rule,
            num_draft_tokens=self.num_draft_tokens,
        )


def _sample(
    decoder: Decoder,
    question: Question,
    draft_prompt: Sequence[int] | Mapping[str, Sequence[int]] | None = None,
    **options: Unpack[SamplingOptions],
) -> Answer:
    meter = Meter(decoder)
    asked: SamplingOptions = {**options, **question.options}
    completion = decoder.generate(question.tokens, draft_prompt=draft_prompt, **asked)
    return meter.answer_with(completion, goal_logprobs=completion.logprobs)
