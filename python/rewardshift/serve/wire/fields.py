"""Fields that shape an answer become ``SamplingOptions``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

from rewardshift.serve.errors import wrong

from .base import Fields
from .forms import form_of

if TYPE_CHECKING:
    from rewardshift.options import SamplingOptions
    from rewardshift.serve.facts import Facts
    from rewardshift.serve.settings import Settings

Number = int | float


class SamplingFields(Fields):
    """What chat and plain completions have in common: OpenAI's, llama-server's and our names."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    logit_bias: dict[str, float] | list[list[Any]] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    response_format: dict[str, Any] | None = None

    # llama-server's
    n_predict: int | None = None
    top_k: int | None = None
    min_p: float | None = None
    repeat_penalty: float | None = None
    repeat_last_n: int | None = None
    n_probs: int | None = None
    grammar: str | None = None
    json_schema: dict[str, Any] | bool | None = None
    ignore_eos: bool | None = None
    cache_prompt: bool | None = None
    timings_per_token: bool | None = None
    return_tokens: bool | None = None
    return_progress: bool | None = None

    # ours
    regex: str | None = None
    choice: list[str] | None = None
    strength: float | dict[str, float] | None = None
    rule: Literal["exact", "paper", "speculative"] | None = None
    verification: Literal["block", "token"] | None = None
    num_draft_tokens: int | None = None
    tree_width: int | None = None
    prompt_lookup: bool | None = None
    penalty_last_n: int | None = None
    deterministic: bool | None = None
    return_token_info: bool | None = None

    def options(self, settings: Settings, facts: Facts) -> SamplingOptions:
        """What the decoder is asked for, but for how many tokens and alternatives.

        Raises:
            ApiError: For values that are beyond the server's limits, or contradict each other.
        """
        self.require_known(settings)
        self._require_limits(settings)
        given: dict[str, Any] = {name: getattr(self, name) for name in _AS_THEY_ARE}
        given["penalty_last_n"] = self.penalty_last_n
        if self.repeat_last_n is not None and self.penalty_last_n is None:
            given["penalty_last_n"] = self.repeat_last_n
        given["logit_bias"] = self._bias(facts)
        given |= form_of(self)
        return {**settings.defaults, **{k: v for k, v in given.items() if v is not None}}  # type: ignore[typeddict-item]

    def room(self, settings: Settings, facts: Facts, *, own: int | None = None) -> int:
        """How many tokens an answer may have: -1 is all that fit.

        An answer reserves room for all that it may ever need: so a request that does not say gets
        a quarter of the context, or others would wait for it.
        """
        asked = [given for given in (own, self.max_tokens, self.n_predict) if given is not None]
        if asked:
            return asked[0]
        return int(settings.defaults.get("max_tokens") or max(facts.context_size // 4, 1))

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with a chunk about usage."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)

    def _require_limits(self, settings: Settings) -> None:
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stops) > settings.max_stops:
            raise wrong(f"stop may have {settings.max_stops} texts at most", "stop")
        if any(len(stop) > _LONGEST_STOP for stop in stops):
            raise wrong(f"a text of stop may have {_LONGEST_STOP} characters at most", "stop")
        if self.n is not None and not 1 <= self.n <= settings.max_n:
            raise wrong(f"n must be between 1 and {settings.max_n}, not {self.n}", "n")

    def _bias(self, facts: Facts) -> dict[int, float] | None:
        """OpenAI's mapping from ids, or llama-server's list of pairs, in which false forbids."""
        bias: dict[int, float] = {}
        if isinstance(self.logit_bias, dict):
            for token, value in self.logit_bias.items():
                if not token.isdecimal() or len(token) > _DIGITS:
                    raise wrong(f"logit_bias maps token ids, not {token!r}", "logit_bias")
                bias[int(token)] = value
        for pair in self.logit_bias if isinstance(self.logit_bias, list) else ():
            biased, value = _pair(pair)
            bias[biased] = value
        if self.ignore_eos:
            bias |= dict.fromkeys(facts.end_of_generation, -math.inf)
        return bias or None


def alternatives(given: int | None, name: str, settings: Settings) -> int:
    """How many alternatives a token are asked for.

    Raises:
        ApiError: If that is beyond the server's limit.
    """
    if given is not None and not 0 <= given <= settings.max_top_logprobs:
        most = settings.max_top_logprobs
        raise wrong(f"{name} must be between 0 and {most}, not {given}", name)
    return given or 0


class StreamOptions(Fields):
    """OpenAI's."""

    include_usage: bool | None = None


SamplingFields.model_rebuild()

_AS_THEY_ARE = (
    *("temperature", "top_p", "top_k", "min_p", "stop", "seed", "frequency_penalty"),
    *("presence_penalty", "repeat_penalty", "strength", "rule", "verification"),
    *("num_draft_tokens", "tree_width", "prompt_lookup", "deterministic"),
)
_DIGITS = 9
_LONGEST_STOP = 1000
"""Characters: each token of an answer is compared with all that may begin one."""


def _pair(pair: list[Any]) -> tuple[int, float]:
    if len(pair) != 2 or isinstance(pair[0], bool) or not isinstance(pair[0], int):
        raise wrong("logit_bias has pairs of a token's id and a number, or false", "logit_bias")
    token, value = pair
    if value is False:
        return token, -math.inf
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong("logit_bias has pairs of a token's id and a number, or false", "logit_bias")
    return token, float(value)
