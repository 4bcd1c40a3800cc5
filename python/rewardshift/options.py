"""Names and types of the options. Defaults and documentation live with the C++ structs.

``help(rewardshift._core.RequestParams)`` and its siblings list both.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from . import _core

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

RuleName = Literal["exact", "paper", "speculative"]


class ModelOptions(TypedDict, total=False):
    """How model files are loaded."""

    n_gpu_layers: int
    use_mmap: bool
    use_mlock: bool


class ContextOptions(TypedDict, total=False):
    """How models are evaluated."""

    n_ctx: int
    n_batch: int
    n_ubatch: int
    n_seq_max: int
    n_threads: int
    n_threads_batch: int
    flash_attn: bool | None
    type_k: str
    type_v: str


class LoadOptions(ModelOptions, ContextOptions, total=False):
    """Everything that loading can be told."""


class SamplingOptions(TypedDict, total=False):
    """What a request can be told."""

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
    seed: int | None
    stop: str | Sequence[str] | None
    top_logprobs: int


Struct = TypeVar("Struct")


def fill(struct: Struct, values: Mapping[str, Any]) -> Struct:
    """Sets the struct's fields; raises TypeError for unknown names and wrong types."""
    for name, value in values.items():
        if name not in _fields(struct):
            known = ", ".join(_fields(struct))
            raise TypeError(f"unknown option {name!r}; there are {known}")
        try:
            setattr(struct, name, value)
        except TypeError:
            raise TypeError(f"{name} cannot be {value!r}") from None
    return struct


def split_load_options(
    options: Mapping[str, Any],
) -> tuple[_core.ModelOptions, _core.ContextOptions]:
    """Sorts loading options into those of files and those of contexts."""
    model, context = _core.ModelOptions(), _core.ContextOptions()
    for name, value in options.items():
        fill(model if name in _fields(model) else context, {name: value})
    _core.validate(context)
    return model, context


def request_params(options: Mapping[str, Any], *, stream: int = 0) -> _core.RequestParams:
    """The core's parameters from a user's options; draws a seed if there is none."""
    values = {**options, "stream": stream}
    if values.get("seed") is None:
        values["seed"] = secrets.randbits(64)
    if values.get("max_tokens", 0) is None:
        values["max_tokens"] = -1
    stop = values.get("stop", ())
    values["stop"] = [stop] if isinstance(stop, str) else list(stop or ())
    values["logit_bias"] = [
        (int(token), float(bias)) for token, bias in dict(values.get("logit_bias") or {}).items()
    ]
    return fill(_core.RequestParams(), values)


def _fields(struct: object) -> Iterator[str]:
    return (name for name in dir(type(struct)) if not name.startswith("_"))
