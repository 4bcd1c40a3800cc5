"""What an instruct model thinks of a response."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rewardshift.chat.turns import prompt_tokens
from rewardshift.decoder import Decoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

    from rewardshift.options import LoadOptions
    from rewardshift.sources.hub import StrPath

    from .reward import Exchange

_LIFT = 100.0  # nats that put two tokens above all others and leave their difference as it is


class JudgeReward:
    """What an instruct model thinks: its log-odds of answering yes to a question.

    Where Yes and No are a token each, many exchanges are judged in one batch, and what their
    questions begin with alike is evaluated once.

    Args:
        model: GGUF file of the judge, which has a chat template.
        question: With ``{prompt}`` and ``{response}`` in it, to be answered by yes or no.
        **options: As in ``rewardshift.options.LoadOptions``.
    """

    QUESTION = (
        "A user wrote:\n{prompt}\n\nAn assistant answered:\n{response}\n\n"
        "Is this a good answer? Reply with Yes or No."
    )

    def __init__(
        self, model: StrPath, question: str = QUESTION, **options: Unpack[LoadOptions]
    ) -> None:
        """Loads the judge."""
        if "{response}" not in question:
            raise ValueError(f"the question has no {{response}} in it: {question!r}")
        self._question = question
        self._judge = Decoder(model, **options)
        yes, no = (self._judge.tokenize(word, add_special=False) for word in ("Yes", "No"))
        self._answers = (*yes, *no) if len(yes) == len(no) == 1 else None

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges."""
        asked = [self._asked(*exchange) for exchange in exchanges]
        if self._answers is None:
            return [self._log_odds_of_words(tokens) for tokens in asked]
        return self._log_odds_of_tokens(asked, *self._answers)

    def _asked(self, prompt: str, response: str) -> list[int]:
        parts = {"{prompt}": prompt, "{response}": response}
        asked = re.sub(r"\{prompt\}|\{response\}", lambda m: parts[m.group()], self._question)
        return prompt_tokens(self._judge, asked)

    def _log_odds_of_words(self, tokens: list[int]) -> float:
        yes, no = (self._judge.score(tokens, word).target_logprob for word in ("Yes", "No"))
        return yes - no

    def _log_odds_of_tokens(self, asked: list[list[int]], yes: int, no: int) -> list[float]:
        answers = self._judge.generate_batch(
            asked,
            max_tokens=1,
            temperature=1.0,
            top_logprobs=2,
            logit_bias={yes: _LIFT, no: _LIFT},
            seed=0,
            deterministic=False,  # what it draws is not looked at
        )
        found = []
        for tokens, answer in zip(asked, answers, strict=True):
            law = answer.steps[0].top_logprobs
            both = yes in law and no in law  # not where one is ever so improbable
            found.append(law[yes] - law[no] if both else self._log_odds_of_words(tokens))
        return found
