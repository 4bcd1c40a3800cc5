"""What ``rewardshift demo`` decodes: prompts, each answered by the target alone and with a dial."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rewardshift.chat.turns import prompt_tokens
from rewardshift.errors import EvaluationError

from .encode import completion_object

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.results import Completion, Statistics, TokenInfo

    from .demo_measures import Measure

SEED = 1
MAX_TOKENS, TEMPERATURE = 64, 0.8


@dataclass(slots=True)
class Run:
    """A response so far, its value, and the time its decoding took after the first tokens came."""

    text: str = ""
    tokens: list[TokenInfo] = field(default_factory=list)
    completion: Completion | None = None
    value: float | None = None
    timed_tokens: int = 0
    timed_seconds: float = 0.0

    @property
    def is_cut(self) -> bool:
        """Whether the text might have gone on."""
        return self.completion is not None and self.completion.finish_reason == "length"

    @property
    def statistics(self) -> Statistics | None:
        """Of the whole response, once it is there."""
        return None if self.completion is None else self.completion.statistics

    def as_object(self) -> dict[str, object]:
        """For JSON."""
        return {
            **(completion_object(self.completion) if self.completion else {}),
            "value": self.value,
            "tokens_per_second": speed([self]),
        }

    def follow(self, decoder: Decoder, request: int, show: Callable[[], None]) -> None:
        """Steps to the end; the time of showing is not counted."""
        while self.completion is None:
            start = time.perf_counter()
            chunks = decoder.step()
            seconds = time.perf_counter() - start
            for chunk in chunks:
                if chunk.id != request:
                    continue
                if chunk.error is not None:
                    raise EvaluationError(chunk.error)
                if self.tokens:  # the first ones waited for the prompt
                    self.timed_tokens += len(chunk.tokens)
                    self.timed_seconds += seconds
                self.text += chunk.text
                self.tokens += chunk.tokens
                self.completion = chunk.completion
            if chunks:
                show()


@dataclass(slots=True)
class Exchange:
    """One prompt and its answers.

    Attributes:
        prompt: What is asked.
        dial: What shifts the target.
        strength: How strongly.
        measure: What the answers are told apart by; None where there is nothing.
        plain: What the target alone says.
        aligned: What it says with the dial. Where the dial speaks the target's vocabulary, it
            drafts as well: three tokens at a time, as a seed has it.
        undrafted: The same law, no drafts.
        free: The same law, with as many drafts as the decoder finds to pay, which may be none.
    """

    prompt: str
    dial: str
    strength: float
    measure: Measure | None = None
    plain: Run = field(default_factory=Run)
    aligned: Run = field(default_factory=Run)
    undrafted: Run = field(default_factory=Run)
    free: Run = field(default_factory=Run)

    def play(self, decoder: Decoder, show: Callable[[], None], *, drafts: bool) -> None:
        """Fills the runs.

        Args:
            decoder: Has the dial among its shifts.
            show: Is called whenever there is more to see.
            drafts: Whether the dial drafts.
        """
        prompt = prompt_tokens(decoder, self.prompt)

        def follow(run: Run, show: Callable[[], None], **options: Any) -> None:  # noqa: ANN401
            asked = {"max_tokens": MAX_TOKENS, "temperature": TEMPERATURE, **options}
            run.follow(decoder, decoder.submit(prompt, **asked), show)

        shifted = {"strength": {self.dial: self.strength}}
        follow(self.plain, show, seed=SEED, strength=0.0, num_draft_tokens=0)
        if drafts:
            follow(self.aligned, show, seed=SEED, **shifted, paper_distance=True)
            follow(self.undrafted, _silently, seed=SEED, **shifted, num_draft_tokens=0)
        else:
            follow(self.aligned, show, seed=SEED, **shifted, num_draft_tokens=0)
            self.undrafted = self.aligned
        if self.measure is not None:
            for run in (self.plain, self.aligned):
                run.value = self.measure.of(self.prompt, run.text)
        show()
        follow(self.free, _silently, **shifted)

    def as_object(self) -> dict[str, object]:
        """For JSON."""
        runs = {name: getattr(self, name) for name in ("plain", "aligned", "undrafted", "free")}
        asked = {"prompt": self.prompt, "dial": self.dial, "strength": self.strength}
        return {**asked, **{name: run.as_object() for name, run in runs.items()}}


def _silently() -> None:
    pass


def speed(runs: Sequence[Run]) -> float:
    """Tokens a second, the first ones of each run left out."""
    seconds = sum(run.timed_seconds for run in runs)
    return sum(run.timed_tokens for run in runs) / seconds if seconds else 0.0
