"""What a method is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, TypedDict

from rewardshift.text.chat_prompt import ChatPrompt

from . import checks

if TYPE_CHECKING:
    from collections.abc import Sequence


class Sampling(TypedDict):
    """Of ``rewardshift.options.SamplingOptions``, what a question decides."""

    seed: int
    max_tokens: int
    temperature: float
    deterministic: bool


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt to answer, and how.

    Attributes:
        prompt: The user's text, for rewards.
        tokens: The prompt as the models see it, rendered by a chat template; kept as a tuple,
            unless it is what ``Decoder.chat_prompts`` gave.
        seed: Of all random numbers, at least 0.
        max_tokens: Longest response, at least 1.
        temperature: Of what is sampled; 0 is greedy.
        draft_tokens: The prompt as the draft alone sees it, to shift by prompt; likewise. With
            several shifts, what their drafts see, by the shift's name.

    Raises:
        ValueError: For what is out of range, with the value, and for a prompt without tokens.
    """

    prompt: str
    tokens: Sequence[int]
    _: KW_ONLY
    seed: int
    max_tokens: int
    temperature: float
    draft_tokens: Sequence[int] | Mapping[str, Sequence[int]] | None = None

    def __post_init__(self) -> None:
        """Checks that it can be answered."""
        if not isinstance(self.tokens, ChatPrompt):
            object.__setattr__(self, "tokens", tuple(self.tokens))
        if not self.tokens:
            raise ValueError("the prompt has no tokens")
        given = self.draft_tokens
        if isinstance(given, Mapping):
            seen: object = {name: tuple(tokens) for name, tokens in given.items()}
            object.__setattr__(self, "draft_tokens", seen)
        elif given is not None:
            object.__setattr__(self, "draft_tokens", tuple(given))
        checks.at_least(0, seed=self.seed)
        checks.at_least(1, max_tokens=self.max_tokens)
        checks.finite(temperature=self.temperature)
        if self.temperature < 0:
            raise ValueError(f"temperature must be at least 0, not {self.temperature!r}")

    def require_one_prompt(self, method: str) -> None:
        """Raises ValueError where the draft sees another prompt, which the method cannot serve."""
        if self.draft_tokens is not None:
            raise ValueError(f"the method {method!r} knows no shift by prompt")

    @property
    def options(self) -> Sampling:
        """Seed, length and temperature, as the decoder takes them.

        Requests share batches and caches, because what methods cost is compared: the same seed
        draws the same random numbers, but logits are rounded as their neighbours have it.
        """
        return {
            "seed": self.seed,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "deterministic": False,
        }
