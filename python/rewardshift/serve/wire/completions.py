"""Plain completions: what is asked, and the shapes of the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rewardshift.serve.errors import wrong

from .fields import SamplingFields, alternatives
from .logprobs import TextLogprobs
from .shape import Shape, finish_reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.options import SamplingOptions
    from rewardshift.results import Completion, TokenInfo
    from rewardshift.serve.echo import Echo
    from rewardshift.serve.facts import Facts
    from rewardshift.serve.job import Job
    from rewardshift.serve.settings import Settings

    from .identity import Identity

    Prompt = str | list[int]


class CompletionRequest(SamplingFields):
    """``POST /v1/completions``."""

    prompt: str | list[int] | list[str] | list[list[int]]
    echo: bool | None = None
    logprobs: int | bool | None = None
    best_of: int | None = None
    suffix: str | None = None

    @property
    def prompts(self) -> list[Prompt]:
        """Each prompt: a text, or token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [self.prompt]  # all are ids, or it would not be valid
        return list(self.prompt)  # type: ignore[arg-type]

    @property
    def shown(self) -> int:
        """Choices of each prompt that are shown."""
        return self.n or 1

    @property
    def candidates(self) -> int:
        """Choices of each prompt among which they are."""
        return self.best_of or self.shown

    @property
    def wants_logprobs(self) -> bool:
        """Whether answers have ``logprobs``."""
        is_given = self.logprobs is not None and self.logprobs is not False  # 0 is not False
        return is_given or bool(self.n_probs)

    def completion_options(self, settings: Settings, facts: Facts) -> SamplingOptions:
        """What the decoder is asked for.

        Raises:
            ApiError: For what cannot be.
        """
        self._require_answerable(settings)
        options = self.options(settings, facts)
        options["max_tokens"] = self.room(settings, facts)
        options["top_logprobs"] = alternatives(self.told_alternatives, "logprobs", settings)
        return options

    @property
    def told_alternatives(self) -> int:
        """How many alternatives a token are asked for."""
        if self.logprobs is None or isinstance(self.logprobs, bool):
            return self.n_probs or 0
        return self.logprobs

    def _require_answerable(self, settings: Settings) -> None:
        if self.suffix:
            raise wrong("suffix: text cannot be filled in between two others here", "suffix")
        if not self.prompts:
            raise wrong("prompt: there is none", "prompt")
        if self.best_of is not None and not self.shown <= self.best_of <= settings.max_n:
            raise wrong(
                f"best_of must be between n, which is {self.shown}, and {settings.max_n}, "
                f"not {self.best_of}",
                "best_of",
            )
        if self.stream and self.candidates > self.shown:
            raise wrong("best_of: which are best is known at their end; do not stream", "best_of")
        if len(self.prompts) * self.candidates > settings.max_n:
            raise wrong(f"all prompts together may have {settings.max_n} answers", "prompt")


class CompletionShape(Shape[CompletionRequest]):
    """The answers to one request."""

    kind = kind_of_chunk = "text_completion"

    def __init__(
        self,
        asked: CompletionRequest,
        facts: Facts,
        identity: Identity,
        job: Job,
        prompt_tokens: Sequence[int],
        echoes: Sequence[Echo] = (),
    ) -> None:
        """For one request; ``echoes`` has one of each prompt, where they are asked for."""
        super().__init__(asked, facts, identity, job, prompt_tokens)
        self._echoes = echoes
        self._told = [TextLogprobs(facts, asked.told_alternatives) for _ in range(job.choices)]
        self._tokens_told = [0] * job.choices

    def openings(self, choice: int) -> list[dict[str, Any]]:
        """The prompt, where it is asked for."""
        echo = self._echo_of(choice)
        if echo is None:
            return []
        told = self._told[choice]
        echo.tell(told)
        return [_choice(choice, echo.text, self._taken(told), None)]

    def delta(self, choice: int, text: str, tokens: Sequence[TokenInfo]) -> dict[str, Any]:
        """A choice of a chunk: what is new of it."""
        told = self._told[choice]
        told.add_all(tokens)
        self._tokens_told[choice] += len(tokens)
        return _choice(choice, text, self._taken(told), None)

    def last(self, choice: int, completion: Completion) -> dict[str, Any]:
        """A choice of its last chunk."""
        told = self._told[choice]
        silent = self._silent(completion, self._tokens_told[choice])
        told.add_all(silent)
        logprobs = self._taken(told) if silent else None
        return _choice(choice, "", logprobs, finish_reason(completion))

    def full(
        self, choice: int, completion: Completion, tokens: Sequence[TokenInfo]
    ) -> dict[str, Any]:
        """A choice of a whole answer."""
        echo = self._echo_of(choice)
        told = self._told[choice]
        if echo is not None:
            echo.tell(told)
        told.add_all([*tokens, *self._silent(completion, len(tokens))])
        text = completion.text if echo is None else echo.text + completion.text
        return _choice(choice, text, self._taken(told), finish_reason(completion))

    def best(self, completions: Sequence[Completion]) -> list[int]:
        """The choices that are shown: of each prompt's the most probable, by token."""
        found = []
        for first in range(0, len(completions), self.asked.candidates):
            own = range(first, first + self.asked.candidates)
            ranked = sorted(own, key=lambda i: -_mean(completions[i].logprobs))
            found += sorted(ranked[: self.asked.shown])
        return found

    def _silent(self, completion: Completion, told: int) -> Sequence[TokenInfo]:
        """The last tokens, of which no text came: lm-eval counts on all that were decoded.

        What a stop string has cut away is not among them.
        """
        was_cut = completion.finish_reason == "stop" and (
            completion.tokens[-1] not in self.facts.end_of_generation
        )
        return () if was_cut else completion.steps[told:]

    def _echo_of(self, choice: int) -> Echo | None:
        return self._echoes[choice // self._per_prompt] if self._echoes else None

    def _taken(self, told: TextLogprobs) -> dict[str, Any] | None:
        taken = told.take()
        return taken if self.asked.wants_logprobs else None


def _choice(
    choice: int, text: str, logprobs: dict[str, Any] | None, finish: str | None
) -> dict[str, Any]:
    return {"index": choice, "text": text, "logprobs": logprobs, "finish_reason": finish}


def _mean(logprobs: Sequence[float]) -> float:
    return sum(logprobs) / len(logprobs) if logprobs else 0.0
