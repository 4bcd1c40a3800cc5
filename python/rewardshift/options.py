"""Names and types of the options. Defaults and documentation live with the C++ structs.

``help(rewardshift._core.RequestParams)`` and its siblings list both.
"""

from __future__ import annotations

import operator
import secrets
from collections.abc import Iterable, Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from . import _core
from .boundary import shown
from .grammar import GRAMMAR_OPTIONS, GrammarOptions, visible_tokens_of
from .shifts import strengths_by_shift

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Unpack

RuleName = Literal["exact", "paper", "speculative"]
VerificationName = Literal["block", "token"]


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
    poll: int
    cache_ram: int
    flash_attn: bool | None
    type_k: str
    type_v: str


class LoadOptions(ModelOptions, ContextOptions, total=False):
    """Everything that loading can be told: ``ModelOptions`` and ``ContextOptions`` together."""


class SamplingOptions(GrammarOptions, total=False):
    """What a request can be told.

    Most are fields of the core's ``RequestParams``. ``echo`` puts the prompt into the
    result, with its scores (for which all roles see the target's prompt); ``logprobs`` is OpenAI's
    other name for ``top_logprobs``; a ``seed`` of None or -1 draws one.

    ``strength`` is the exponent of the shift, of any sign: a number where there is one shift; a
    mapping from names, in which those that are missing are 0; None is each shift's default. A shift
    of strength 0 is not evaluated.

    ``deterministic`` makes the text follow from the request alone, in one build and with one set of
    loading options: whatever was decoded before, whoever is decoded beside it, however busy the
    machine is. Such requests are decoded one at a time, in caches of their own. None is so where a
    seed is given; False shares batches with others, whose shapes decide how logits are rounded.

    Texts depend on how many tokens are drafted: left to the decoder, ``num_draft_tokens`` is what
    is fastest here and now, unless a seed is given; then it is 3, or as many as promise to be
    accepted where the last four tokens stood in prompt or response before (``prompt_lookup``). So
    it is for drafts of a
    table (``drafter``) and for trees (``tree_width`` above 1): left to the decoder, they are drawn
    where that is faster.

    ``response_format``, ``grammar``, ``regex`` and ``choice``, of which at most one is given, say
    what a response may be: see ``GrammarOptions``. Goal and drafts are restricted to it, token by
    token. A response that ``max_tokens`` cuts has the finish_reason "length" and is only the
    beginning of what was asked for.

    ``visible_tokens`` are ids of control tokens that are to count as text, in this response and its
    grammar, such as the mark that some models put before calls of tools.
    """

    echo: bool
    logprobs: int | None
    deterministic: bool | None

    max_tokens: int | None
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    logit_bias: Mapping[int, float] | None
    repeat_penalty: float
    frequency_penalty: float
    presence_penalty: float
    penalty_last_n: int
    strength: float | Mapping[str, float] | None
    rule: RuleName
    verification: VerificationName
    num_draft_tokens: int | None
    drafter: _core.NgramTable | None
    prompt_lookup: bool | None
    tree_width: int
    seed: int | None
    substream: int
    stop: str | Iterable[str] | None
    visible_tokens: Sequence[int] | None
    top_logprobs: int
    entropy: bool
    paper_distance: bool


GOAL_OPTIONS = frozenset(
    (
        *("strength", "rule", "temperature", "top_k", "top_p", "min_p", "logit_bias"),
        *("repeat_penalty", "frequency_penalty", "presence_penalty", "penalty_last_n"),
        *("visible_tokens", *GRAMMAR_OPTIONS),
    )
)
"""Of ``SamplingOptions`` those that shape the law; the others say how to sample from it."""


def target_only(**options: Unpack[SamplingOptions]) -> SamplingOptions:
    """The options of a request that the target decodes by itself, token by token."""
    return {**options, "strength": 0.0, "num_draft_tokens": 0}


Struct = TypeVar("Struct")

_ALL: dict[str, Any] = {**LoadOptions.__annotations__, **SamplingOptions.__annotations__}


def fill(
    struct: Struct, values: Mapping[str, Any], *, given: Mapping[str, Any] | None = None
) -> Struct:
    """Sets the struct's fields.

    Args:
        struct: Of the core.
        values: By field.
        given: The same as the user gave them, for the error.

    Raises:
        TypeError: For values of a wrong type; it names the first.
    """
    name = ""
    try:
        for name, value in values.items():
            _require_no_truth(name, value)
            setattr(struct, name, value)
    except TypeError:
        raise _wrong_type(name, (given or values).get(name, values[name])) from None
    return struct


def _require_no_truth(name: str, value: object) -> None:
    """Raises TypeError for True and False where a number is asked for: the core would take them."""
    annotation = _ALL.get(name)
    is_number = annotation is not None and "bool" not in annotation.__forward_arg__
    if is_number and isinstance(value, bool):
        raise TypeError(name)


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
    """A type as ggml calls it, "q8_0", where users call it as files do; others as they are."""
    options = _core.ContextOptions()
    try:
        setattr(options, name, value.lower())
        _core.validate(options)
    except (TypeError, ValueError):  # which is told of with the value as it is
        return value
    return value.lower()


_NO_SEED = (None, -1)


def is_deterministic(options: Mapping[str, Any]) -> bool:
    """Whether the text is to follow from the request alone: as asked for, or by an explicit seed.

    Raises:
        TypeError: If ``deterministic`` is neither.
    """
    wanted = options.get("deterministic")
    if wanted is None:
        return options.get("seed") not in _NO_SEED
    if not isinstance(wanted, bool):
        raise _wrong_type("deterministic", wanted)
    return wanted


def request_params(options: Mapping[str, Any], shifts: Sequence[str] = ()) -> _core.RequestParams:
    """The core's parameters from a user's options, all but the grammar; draws a seed if need be.

    A seed that is given is meant to fix the text: then nothing measured chooses the draft length.

    Args:
        options: As in ``SamplingOptions``.
        shifts: The names of those that the decoder has.

    Raises:
        TypeError: For unknown names and wrong types.
        ValueError: For strengths that the shifts cannot serve.
    """
    _require_known(options, SamplingOptions)
    values = dict(options)
    if not isinstance(echo := values.pop("echo", False), bool):
        raise _wrong_type("echo", echo)
    if (alias := values.pop("logprobs", None)) is not None:
        if isinstance(alias, bool):
            raise _wrong_type("logprobs", alias)
        values.setdefault("top_logprobs", alias)
    for name in ("deterministic", *GRAMMAR_OPTIONS):
        values.pop(name, None)
    values["strengths"] = strengths_by_shift(values.pop("strength", None), shifts)
    values["visible_tokens"] = visible_tokens_of(options)
    values["reproducible"] = is_deterministic(options) or values.get("seed") not in _NO_SEED
    if values.get("seed") in _NO_SEED:
        values["seed"] = secrets.randbits(64)
    if values.get("max_tokens", 0) is None:
        values["max_tokens"] = -1
    name = ""
    try:
        for name, convert in (("stop", _stop_list), ("logit_bias", _bias_pairs)):
            values[name] = convert(values.get(name))
    except (TypeError, OverflowError):
        raise _wrong_type(name, values[name]) from None
    return fill(_core.RequestParams(), values, given=options)


def require_score_options(options: Mapping[str, Any]) -> None:
    """Raises TypeError for options that would be ignored where nothing is sampled."""
    _require_known(options, SamplingOptions)
    takes = GOAL_OPTIONS | {"top_logprobs"}
    if ignored := [name for name in options if name not in takes]:
        raise TypeError(
            f"score has no use for {', '.join(ignored)}: nothing is sampled; it takes "
            f"{', '.join(sorted(takes))}"
        )


def _stop_list(stop: object) -> list[str]:
    """One string or several."""
    if stop is None or isinstance(stop, str):
        return [] if stop is None else [stop]
    if not isinstance(stop, Iterable) or isinstance(stop, Mapping):
        raise TypeError
    found = list(stop)
    if not all(isinstance(text, str) for text in found):
        raise TypeError
    return found


def _bias_pairs(bias: object) -> list[tuple[int, float]]:
    """Pairs of token and bias; ids may be text, as JSON has them."""
    if bias is None:
        return []
    if not isinstance(bias, Mapping):
        raise TypeError
    pairs = []
    for token, value in bias.items():
        if isinstance(token, bool) or isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError
        is_spelled = isinstance(token, str) and token.isdecimal()
        pairs.append((int(token) if is_spelled else operator.index(token), float(value)))
    return pairs


def _require_known(options: Mapping[str, Any], known: type) -> None:
    for name in options:
        if name not in known.__annotations__:
            names = ", ".join(sorted(known.__annotations__))
            raise TypeError(f"unknown option {name!r}; there are {names}")


def _wrong_type(name: str, value: object) -> TypeError:
    return TypeError(f"{name} cannot be {shown(value)}")
