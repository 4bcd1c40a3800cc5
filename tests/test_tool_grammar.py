"""Where a call is a must, random models make valid calls: the mask leaves nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from rewardshift import Decoder, GrammarError
from rewardshift.serve.tools import Offer, ToolFormat, offer_of
from rewardshift.serve.tools.formats import HERMES, LLAMA
from rewardshift.serve.tools.grammar import grammar_of_calls
from tests.support.tool_models import FORMATS, SCHEMAS, TOOLS, decoder_of
from tests.test_tool_calls import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Files

SEEDS = range(12)

any_format = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)


@pytest.fixture(scope="module")
def decoder(files: Files) -> Iterator[Decoder]:
    with decoder_of(files, None) as opened:
        yield opened


def offer(choice: Any = "required", parallel: bool | None = None) -> Offer:
    found = offer_of(TOOLS, choice, parallel)
    assert found is not None
    return found


def marks_of(decoder: Decoder, form: ToolFormat) -> list[int]:
    spelled = {mark: decoder.tokenize(mark, add_special=False) for mark in form.marks}
    return [ids[0] for ids in spelled.values() if len(ids) == 1]


def responses(decoder: Decoder, form: ToolFormat, offered: Offer) -> list[str]:
    """What the random model says by each seed, of as many as ended."""
    found = [
        decoder.generate(
            "abc",
            grammar=grammar_of_calls(form, offered),
            visible_tokens=marks_of(decoder, form),
            max_tokens=600,
            temperature=1.0,
            num_draft_tokens=2,
            logit_bias=dict.fromkeys(decoder.end_of_generation, 4.0),
            seed=seed,
        )
        for seed in SEEDS
    ]
    whole = [completion.text for completion in found if completion.finish_reason == "stop"]
    assert len(whole) >= len(SEEDS) // 2
    return whole


def require_valid(name: str, arguments: str) -> None:
    jsonschema.validate(json.loads(arguments), SCHEMAS[name])


@any_format
def test_a_must_makes_valid_calls_and_nothing_else(decoder: Decoder, form: ToolFormat) -> None:
    for text in responses(decoder, form, offer()):
        content, calls = read_tools(form, text)
        assert content == ""
        assert calls
        for name, arguments in calls:
            require_valid(name, arguments)


@any_format
def test_no_parallel_calls_are_exactly_one(decoder: Decoder, form: ToolFormat) -> None:
    for text in responses(decoder, form, offer(parallel=False)):
        content, calls = read_tools(form, text)
        assert (content, len(calls)) == ("", 1)


@any_format
def test_a_named_function_is_the_one_that_is_called(decoder: Decoder, form: ToolFormat) -> None:
    chosen = {"type": "function", "function": {"name": "weather"}}
    for text in responses(decoder, form, offer(chosen)):
        _, calls = read_tools(form, text)
        assert {name for name, _ in calls} == {"weather"}


@any_format
def test_what_the_format_writes_is_a_sentence_of_its_grammar(
    decoder: Decoder, form: ToolFormat
) -> None:
    """Also by the control tokens that stand for its marks, where there are any."""
    call = form.opening.replace("NAME", "weather") + '{"city": "Kyiv"}' + form.closing
    text = form.before + call + form.after
    tokens = decoder.tokenize(text, add_special=False)
    assert any(decoder.detokenize([t]) == "" for t in tokens) == (form is not LLAMA)
    end = decoder.end_of_generation[0]
    score = decoder.score(
        "abc",
        [*tokens, end],
        grammar=grammar_of_calls(form, offer()),
        visible_tokens=marks_of(decoder, form),
    )
    assert score.goal_logprob > float("-inf")


def test_control_tokens_are_text_only_where_they_are_visible(decoder: Decoder) -> None:
    mark, *_ = decoder.tokenize("[ARGS]", add_special=False)
    options: dict[str, Any] = {"max_tokens": 2, "temperature": 0, "logit_bias": {mark: 1e4}}
    hidden = decoder.generate("abc", **options)
    assert (hidden.text, hidden.tokens) == ("", (mark, mark))
    shown = decoder.generate("abc", visible_tokens=[mark], **options)
    assert (shown.text, shown.tokens) == ("[ARGS][ARGS]", (mark, mark))
    assert [step.text for step in shown.steps] == ["[ARGS]", "[ARGS]"]
    stopped = decoder.generate("abc", visible_tokens=[mark], stop="GS][A", **options)
    assert (stopped.text, stopped.finish_reason) == ("[AR", "stop")


def test_a_grammar_may_ask_for_visible_tokens_only(decoder: Decoder) -> None:
    mark, *_ = decoder.tokenize("[ARGS]", add_special=False)
    options: dict[str, Any] = {"max_tokens": 8, "temperature": 0, "logit_bias": {mark: 1e4}}
    hidden = decoder.generate("abc", choice=["[ARGS]"], **options)
    assert mark not in hidden.tokens
    shown = decoder.generate("abc", choice=["[ARGS]"], visible_tokens=[mark], **options)
    assert shown.tokens[0] == mark
    assert hidden.text == shown.text == "[ARGS]"


def test_visible_tokens_are_token_ids(decoder: Decoder) -> None:
    for wrong in ("ab", [True], 3, iter([1])):
        with pytest.raises(TypeError, match="visible_tokens must be token ids, not"):
            decoder.generate("abc", visible_tokens=wrong)  # type: ignore[arg-type]


def test_a_schema_that_cannot_be_is_refused_and_never_unconstrained(decoder: Decoder) -> None:
    impossible = [
        {
            "type": "function",
            "function": {
                "name": "f",
                "parameters": {"type": "object", "properties": {"a": {"not": {}}}},
            },
        }
    ]
    offered = offer_of(impossible, "required")
    assert offered is not None
    with pytest.raises(GrammarError):
        decoder.generate("abc", grammar=grammar_of_calls(HERMES, offered))


def read_tools(form: ToolFormat, text: str) -> tuple[str, list[tuple[str, str]]]:
    return read(form, text, names=tuple(SCHEMAS))
