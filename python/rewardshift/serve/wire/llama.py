"""llama-server's own completions: what is asked, and the shapes of the answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rewardshift import _core
from rewardshift.serve.errors import wrong

from .base import Fields
from .fields import SamplingFields, alternatives
from .logprobs import chat_logprobs
from .shape import Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.decoder import Decoder
    from rewardshift.options import SamplingOptions
    from rewardshift.results import Completion, TokenInfo
    from rewardshift.serve.facts import Facts
    from rewardshift.serve.job import Job
    from rewardshift.serve.settings import Settings

    from .identity import Identity


class PromptString(Fields):
    """A text, in an object that could hold pictures as well."""

    prompt_string: str
    multimodal_data: None = None


Mixed = str | PromptString | list[str | int]
"""A prompt: text, token ids, or pieces of both."""


class LlamaRequest(SamplingFields):
    """``POST /completion``."""

    prompt: Mixed | list[Mixed]
    post_sampling_probs: bool | None = None
    response_fields: list[str] | None = None

    @property
    def prompts(self) -> list[Mixed]:
        """Each prompt: where texts stand beside ids, or ids alone, they are one."""
        if isinstance(self.prompt, (str, PromptString)):
            return [self.prompt]
        if any(isinstance(part, int) for part in self.prompt):
            return [self.prompt]  # type: ignore[list-item]  # others are no prompts then
        return list(self.prompt)  # type: ignore[arg-type]

    @property
    def has_many(self) -> bool:
        """Whether the answer is a list."""
        return isinstance(self.prompt, list) and self.prompts != [self.prompt]

    def llama_options(self, settings: Settings, facts: Facts) -> SamplingOptions:
        """What the decoder is asked for.

        Raises:
            ApiError: For what cannot be.
        """
        if not 1 <= len(self.prompts) <= settings.max_n:
            raise wrong(f"there may be 1 to {settings.max_n} prompts", "prompt")
        if self.n not in (None, 1):
            raise wrong("n: each prompt has one answer here", "n")
        options = self.options(settings, facts)
        options["max_tokens"] = self.room(settings, facts)
        options["top_logprobs"] = alternatives(self.n_probs, "n_probs", settings)
        return options


def ids_of(prompt: Mixed, decoder: Decoder) -> list[int]:
    """The tokens of a prompt, whose first text gets what the model wants at the beginning."""
    if isinstance(prompt, PromptString):
        return decoder.tokenize(prompt.prompt_string)
    if isinstance(prompt, str):
        return decoder.tokenize(prompt)
    ids: list[int] = []
    for i, part in enumerate(prompt):
        is_text = isinstance(part, str)
        ids += decoder.tokenize(part, add_special=i == 0) if is_text else [part]  # type: ignore[arg-type,list-item]
    return ids


class LlamaShape(Shape[LlamaRequest]):
    """The answers to one request."""

    kind = kind_of_chunk = ""

    def __init__(
        self,
        asked: LlamaRequest,
        facts: Facts,
        identity: Identity,
        job: Job,
        *,
        prompts: Sequence[tuple[int, str]],
        options: SamplingOptions,
    ) -> None:
        """For one request.

        Args:
            asked: What it asks for.
            facts: Of the models.
            identity: Of the answer.
            job: What answers.
            prompts: How many tokens each has, and its text.
            options: What the decoder was asked for.
        """
        super().__init__(asked, facts, identity, job, [length for length, _ in prompts])
        self._prompts = [text for _, text in prompts]
        self._options = options
        self._said = [0] * job.choices
        self._model = identity.model

    def openings(self, choice: int) -> list[dict[str, Any]]:  # noqa: ARG002
        """Nothing."""
        return []

    def delta(self, choice: int, text: str, tokens: Sequence[TokenInfo]) -> dict[str, Any]:
        """A chunk: what is new of a choice."""
        self._said[choice] += len(tokens)
        told = {
            "index": choice,
            "content": text,
            "tokens": [token.id for token in tokens],
            "stop": False,
            "id_slot": -1,
            "tokens_predicted": self._said[choice],
            "tokens_evaluated": self._prompt_tokens[choice],
        }
        return told | self._probabilities(tokens)

    def last(self, choice: int, completion: Completion) -> dict[str, Any]:
        """The last chunk of a choice."""
        return self._ended(choice, completion) | {"content": "", "tokens": []}

    def full(
        self, choice: int, completion: Completion, tokens: Sequence[TokenInfo]
    ) -> dict[str, Any]:
        """A whole answer."""
        return self._ended(choice, completion) | self._probabilities(tokens)

    def answers(
        self, completions: Sequence[Completion], tokens: Sequence[Sequence[TokenInfo]]
    ) -> list[dict[str, Any]]:
        """All of them, whole."""
        return [
            self._chosen(self._with_extras(i, done, self.full(i, done, tokens[i])))
            for i, done in enumerate(completions)
        ]

    def ending(self, completions: Sequence[Completion]) -> None:
        """Nothing."""

    def _chunk(self, *choices: dict[str, Any]) -> dict[str, Any]:
        """A choice is all of a chunk."""
        return dict(choices[0])

    def _ended(self, choice: int, completion: Completion) -> dict[str, Any]:
        generated = len(completion.steps)
        why, word = self._why(completion)
        return {
            "index": choice,
            "content": completion.text,
            "tokens": [],
            "id_slot": -1,
            "stop": True,
            "model": self._model,
            "tokens_predicted": generated,
            "tokens_evaluated": completion.prompt_tokens,
            "generation_settings": self._settings(completion),
            "prompt": self._prompts[choice],
            "has_new_line": "\n" in completion.text,
            "truncated": False,
            "stop_type": why,
            "stopping_word": word,
            "tokens_cached": completion.prompt_tokens + generated,
        }

    def _why(self, completion: Completion) -> tuple[str, str]:
        """Why it ended, and by which stop string, if by one."""
        if completion.finish_reason != "stop":
            return ("limit" if completion.finish_reason == "length" else "none"), ""
        if completion.tokens[-1] in self.facts.end_of_generation:
            return "eos", ""
        whole = b"".join(self.facts.pieces[token] for token in completion.tokens)
        behind = whole.decode(errors="replace")[len(completion.text) :]
        stop = self._options.get("stop") or ()
        stops = [stop] if isinstance(stop, str) else list(stop)
        return "word", next((text for text in stops if behind.startswith(text)), "")

    def _settings(self, completion: Completion) -> dict[str, Any]:
        core = _core.RequestParams()
        told = {name: self._options.get(name, getattr(core, name)) for name in _SETTINGS}
        return told | {
            "n_predict": self._options["max_tokens"],
            "n_probs": self._options["top_logprobs"],
            "seed": completion.seed,
            "stream": bool(self.asked.stream),
            "logit_bias": [
                {"token": token, "bias": bias if math.isfinite(bias) else None}
                for token, bias in (self._options.get("logit_bias") or {}).items()
            ],
            "n_ctx": self.facts.context_size,
        }

    def _probabilities(self, tokens: Sequence[TokenInfo]) -> dict[str, Any]:
        if not self.asked.n_probs:
            return {}
        content = [_with_bytes(entry) for entry in chat_logprobs(tokens, self.facts)["content"]]
        if self.asked.post_sampling_probs:
            content = [_as_probability(entry) for entry in content]
        return {"completion_probabilities": content}

    def _chosen(self, told: dict[str, Any]) -> dict[str, Any]:
        """Of an answer the fields that were asked for, each under its path."""
        if not self.asked.response_fields:
            return told
        chosen: dict[str, Any] = {}
        for path in self.asked.response_fields:
            value: Any = told
            for name in path.split("/"):
                value = value.get(name, _NOTHING) if isinstance(value, dict) else _NOTHING
            if value is not _NOTHING:
                chosen[path] = value
        return chosen


_NOTHING = object()
_SETTINGS = (
    *("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "frequency_penalty"),
    *("presence_penalty", "penalty_last_n", "stop", "max_tokens", "num_draft_tokens"),
)


def _with_bytes(entry: dict[str, Any]) -> dict[str, Any]:
    """A token that is no text has none, not null."""
    told = {**entry, "bytes": entry["bytes"] or []}
    if "top_logprobs" in entry:
        told["top_logprobs"] = [_with_bytes(other) for other in entry["top_logprobs"]]
    return told


def _as_probability(entry: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in entry.items() if name not in ("logprob", "top_logprobs")}
    told["prob"] = math.exp(entry["logprob"])
    if "top_logprobs" in entry:
        others = map(_as_probability, entry["top_logprobs"])
        told["top_probs"] = [other for other in others if other["prob"] > 0]
    return told
