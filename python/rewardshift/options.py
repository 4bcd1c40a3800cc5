"""Names and types of the options. Defaults and documentation live with the C++ structs.

``help(rewardshift._core.RequestParams)`` and its siblings list both.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from . import _core

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Unpack

RuleName = Literal["exact", "paper", "speculative"]


class ModelOptions(TypedDict, total=False):
    """How model files are loaded."""

    n_gpu_layers: int
    use_mmap: bool | None
    use_mlock: bool


class ContextOptions(TypedDict, total=False):
    """How models are evaluated."""

    n_ctx: int
    n_batch: int
    n_ubatch: int
    n_seq_max: int
    kv_unified: bool
    n_threads: int
    n_threads_batch: int
    flash_attn: bool | None
    type_k: str
    type_v: str


class LoadOptions(ModelOptions, ContextOptions, total=False):
    """Everything that loading can be told: ``ModelOptions`` and ``ContextOptions`` together."""


class SamplingOptions(TypedDict, total=False):
    """What a request can be told.

    All but three are fields of the core's ``RequestParams``. ``echo`` puts the prompt into the
    result, with its scores (for which all roles see the target's prompt); ``logprobs`` is OpenAI's
    other name for ``top_logprobs``; a ``seed`` of None or -1 draws one. Texts depend on how many
    tokens are drafted: left to the decoder, ``num_draft_tokens`` is what is fastest here and now,
    unless a seed is given; then it is always 3. So it is for drafts of a table (``drafter``) and
    for trees (``tree_width`` above 1): left to the decoder, they are drawn where that is faster.
    """

    echo: bool
    logprobs: int | None

    max_tokens: int | None
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    logit_bias: Mapping[int, float]
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    penalty_last_n: int
    strength: float | None
    rule: RuleName
    num_draft_tokens: int | None
    drafter: _core.NgramTable | None
    tree_width: int
    seed: int | None
    stop: str | Sequence[str] | None
    top_logprobs: int
    entropy: bool


def target_only(**options: Unpack[SamplingOptions]) -> SamplingOptions:
    """The options of a request that the target decodes by itself, token by token."""
    return {**options, "strength": 0.0, "num_draft_tokens": 0}


Struct = TypeVar("Struct")


def fill(struct: Struct, values: Mapping[str, Any]) -> Struct:
    """Sets the struct's fields; raises TypeError for values of a wrong type."""
    name = ""
    try:
        for name, value in values.items():
            setattr(struct, name, value)
    except TypeError:
        raise _wrong_type(name, values[name]) from None
    return struct


def split_load_options(
    options: Mapping[str, Any],
) -> tuple[_core.ModelOptions, _core.ContextOptions]:
    """Sorts loading options into those of files and those of contexts.

    Raises:
        TypeError: For unknown names and wrong types.
        ValueError: For values out of range.
    """
    _require_known(options, LoadOptions)
    model, context = _core.ModelOptions(), _core.ContextOptions()
    for name, value in options.items():
        if name in ("type_k", "type_v") and isinstance(value, str):
            value = _cache_type(name, value)  # noqa: PLW2901
        fill(model if name in ModelOptions.__annotations__ else context, {name: value})
    _core.validate(context)
    return model, context


def _cache_type(name: str, value: str) -> str:
    """A type as ggml calls it ("q8_0"), if a user has called it as files do; or else the value."""
    options = _core.ContextOptions()
    setattr(options, name, value.lower())
    try:
        _core.validate(options)
    except ValueError:
        return value
    return value.lower()


def request_params(options: Mapping[str, Any], *, stream: int = 0) -> _core.RequestParams:
    """The core's parameters from a user's options; draws a seed if there is none.

    A seed that is given is meant to fix the text: then nothing measured chooses the draft length.

    Raises:
        TypeError: For unknown names and wrong types.
    """
    _require_known(options, SamplingOptions)
    values = {**options, "stream": stream}
    values.pop("echo", None)
    if (alias := values.pop("logprobs", None)) is not None:
        values.setdefault("top_logprobs", alias)
    values["reproducible"] = values.get("seed") not in (None, -1)
    if not values["reproducible"]:
        values["seed"] = secrets.randbits(64)
    if values.get("max_tokens", 0) is None:
        values["max_tokens"] = -1
    name = ""
    try:
        for name, convert in (("stop", _stop_list), ("logit_bias", _bias_pairs)):
            values[name] = convert(values.get(name))
    except (TypeError, ValueError):
        raise _wrong_type(name, values[name]) from None
    return fill(_core.RequestParams(), values)


def _stop_list(stop: str | Sequence[str] | None) -> list[str]:
    return [stop] if isinstance(stop, str) else list(stop or ())


def _bias_pairs(bias: Mapping[int, float] | None) -> list[tuple[int, float]]:
    return [(int(token), float(value)) for token, value in dict(bias or {}).items()]


def _require_known(options: Mapping[str, Any], known: type) -> None:
    for name in options:
        if name not in known.__annotations__:
            names = ", ".join(sorted(known.__annotations__))
            raise TypeError(f"unknown option {name!r}; there are {names}")


def _wrong_type(name: str, value: object) -> TypeError:
    return TypeError(f"{name} cannot be {value!r}")
