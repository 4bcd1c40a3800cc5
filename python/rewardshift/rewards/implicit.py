"""The reward that a pair of draft and reference stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rewardshift.boundary import shown
from rewardshift.errors import ChatTemplateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.asking.prompts import Prompt
    from rewardshift.chat.messages import Message
    from rewardshift.decoder import Decoder

    from .reward import Exchange


class ImplicitReward:
    """What the pair in hand prefers: the sum over the response of log q − log r.

    This is DPO's reward, beta · log(q/r), up to its beta and a constant of the prompt (Rafailov et
    al., 2023). Longer responses have larger sums. It evaluates the draft and the reference, on the
    decoder's own weights and caches, and leaves the target alone.

    A response is tokenised anew from its text, without the token that ended it. Control tokens that
    prompt or response spell are text.

    Args:
        decoder: With draft and reference; it is not to be closed before the reward was last used.
        draft_system: The system message that only the draft sees, to shift by prompt.
        shift: The name of the pair, where the decoder has several shifts. The target is then
            evaluated along with it, and so it is where the pair's vocabulary is another, and of a
            head, which stands for log pi* − log p at strength 1.
    """

    def __init__(
        self, decoder: Decoder, *, draft_system: str | None = None, shift: str | None = None
    ) -> None:
        """Of a decoder's pair.

        Raises:
            ValueError: If the decoder has no draft or no reference, or no shift of that name.
        """
        self._decoder = decoder
        self._draft_system = draft_system
        self._shift = shift
        shifts = list(decoder.shifts.values())
        is_head = len(shifts) == 1 and shifts[0].head is not None
        if shift is None and (is_head or decoder.has_own_vocabulary("draft")):
            self._shift = next(iter(decoder.shifts))
        elif shift is None:
            self._draft = decoder.alone("draft")
            self._reference = decoder.alone("reference")
        elif not isinstance(shift, str) or shift not in decoder.shifts:
            known = ", ".join(decoder.shifts) or "none"
            raise ValueError(f"there is no shift {shown(shift)} here, only {known}")

    def __call__(self, exchanges: Sequence[Exchange]) -> list[float]:
        """Scores exchanges, one by one.

        The prompt is a user's message, in the target's chat template where there is one.
        """
        return [float(self._of_text(*exchange).sum()) for exchange in exchanges]

    def per_token(
        self, prompt: Prompt, response: Prompt, *, draft_prompt: Prompt | None = None
    ) -> np.ndarray:
        """The log q − log r of each token of a response: float64 of shape (tokens,).

        Args:
            prompt: What stands before the response, as it is: text or token ids.
            response: Text, tokenised on its own, or token ids.
            draft_prompt: What the draft sees instead of the prompt, to shift by prompt.
        """
        if self._shift is not None:
            only_draft = None if draft_prompt is None else {self._shift: draft_prompt}
            found = self._decoder.score(prompt, response, draft_prompt=only_draft)
            return found.shifts[self._shift]
        asked = prompt if draft_prompt is None else draft_prompt
        aligned = self._draft.score(asked, response).target_logprobs
        before = self._reference.score(prompt, response).target_logprobs
        return np.asarray(aligned - before)

    def _of_text(self, prompt: str, response: str) -> np.ndarray:
        if not response:
            return np.zeros(0)
        messages: list[Message] = [{"role": "user", "content": prompt}]
        seen: list[int]
        try:
            seen, by_draft = self._decoder.chat_prompts_by_shift(
                messages, draft_system=self._draft_system
            )
        except ChatTemplateError:
            if self._draft_system is not None:
                raise
            seen, by_draft = self._decoder.tokenize(prompt, parse_special=False), {}
        said = self._decoder.tokenize(response, add_special=False, parse_special=False)
        own = by_draft.get(self._shift) if self._shift else next(iter(by_draft.values()), None)
        return self.per_token(seen, said, draft_prompt=own)
