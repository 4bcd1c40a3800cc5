"""Scores of a given text: what is asked, and how it is told."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from rewardshift.options import GOAL_OPTIONS
from rewardshift.serve.errors import wrong

from .conversation import ConversationFields
from .fields import SamplingFields, alternatives

if TYPE_CHECKING:
    from rewardshift.asking.prompts import DraftPrompt
    from rewardshift.decoder import Decoder
    from rewardshift.options import SamplingOptions
    from rewardshift.results import Score
    from rewardshift.serve.facts import Facts
    from rewardshift.serve.settings import Settings


class ScoreRequest(SamplingFields, ConversationFields):
    """``POST /v1/score``: how likely a continuation is, under the target, each shift and pi*."""

    continuation: str | list[int]
    prompt: str | list[int] | None = None
    top_logprobs: int | None = None
    add_special: bool = True
    parse_special: bool = True

    def goal(self, settings: Settings, facts: Facts) -> SamplingOptions:
        """The options that shape pi*, as they were asked for: the temperature is 1 otherwise.

        Raises:
            ApiError: For what cannot be.
        """
        if (self.prompt is None) == (self.messages is None):
            raise wrong("give a prompt or messages, one of them", "prompt")
        self.check_conversation(settings)
        given = self.options(replace(settings, defaults={}), facts)
        shaping = {name: value for name, value in given.items() if name in GOAL_OPTIONS}
        if most := alternatives(self.top_logprobs, "top_logprobs", settings):
            shaping["top_logprobs"] = most
        return cast("SamplingOptions", shaping)

    def score(self, decoder: Decoder, goal: SamplingOptions) -> Score:
        """Asks the decoder."""
        prompt: Any = self.prompt
        drafts: DraftPrompt | None = None
        if self.messages is not None:
            prompt, drafts = self.read(decoder)
        return decoder.score(
            prompt,
            self.continuation,
            draft_prompt=drafts,
            add_special=self.add_special,
            parse_special=self.parse_special,
            **goal,
        )


def score_told(score: Score, facts: Facts, model: str) -> dict[str, Any]:
    """The answer. What has no probability is null."""
    told = {
        "object": "score",
        "model": model,
        "tokens": list(score.tokens),
        "texts": [facts.text_of(token) for token in score.tokens],
        "target_logprobs": score.target_logprobs,
        "goal_logprobs": score.goal_logprobs,
        "shifts": score.shifts,
        "log_z": score.log_z,
        "totals": {
            "tokens": len(score.tokens),
            "target_logprob": score.target_logprob,
            "goal_logprob": score.goal_logprob,
            "shifts": {name: float(values.sum()) for name, values in score.shifts.items()},
        },
    }
    if any(score.top_logprobs):
        told["top_logprobs"] = [
            [
                {"id": token, "text": facts.text_of(token), "logprob": logprob}
                for token, logprob in likely.items()
            ]
            for likely in score.top_logprobs
        ]
    return told
