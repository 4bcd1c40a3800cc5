"""Requests whose responses have a form: the options, and what every call makes of them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rewardshift import Decoder, GrammarError, TableModel

from .support.tiny_gguf import CHATML_TEMPLATE, spm_vocab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Files

END = 3
PIECES = ["a", "b", "c", ""]


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    """Three models over the letters a to c, and a token that ends."""
    random = np.random.default_rng(1)
    models = [
        TableModel(
            random.normal(size=(4, 4)).astype(np.float32),
            order=1,
            pieces=PIECES,
            end_of_generation=[END],
        )
        for _ in range(3)
    ]
    with Decoder.from_models(*models) as made:
        yield made


@pytest.fixture(scope="module")
def speaker(files: Files) -> Iterator[Decoder]:
    """Three tiny models with text."""
    trio = files.trio(vocab=spm_vocab(byte_tokens=True), chat_template=CHATML_TEMPLATE)
    with Decoder(*(model.path for model in trio), n_ctx=512, n_threads=1) as made:
        yield made


def test_every_way_of_asking_heeds_the_form(decoder: Decoder) -> None:
    texts = {"ab", "cab"}
    found = [decoder.generate([0], choice=texts_of(texts), seed=s) for s in range(6)]
    found += decoder.generate_batch([[0]] * 4, choice=iter(sorted(texts)), seed=1)
    with decoder.stream([0], regex="ab|cab", seed=2) as chunks:
        found.append(list(chunks)[-1].completion)
    decoder.submit([0], grammar='start: "ab" | "cab"', seed=3)
    while decoder.has_work:
        found += [chunk.completion for chunk in decoder.step() if chunk.completion]
    assert {completion.text for completion in found} == texts
    assert {completion.finish_reason for completion in found} == {"stop"}


def texts_of(texts: set[str]) -> list[str]:
    return sorted(texts)


def test_what_is_forced_says_so_and_asked_nobody(decoder: Decoder) -> None:
    answer = decoder.generate([0], choice=["abc"], seed=1)
    assert [step.origin for step in answer.steps[:3]] == ["forced"] * 3
    assert {step.target_logprob for step in answer.steps[:3]} == {None}
    assert {step.logprob for step in answer.steps[:3]} == {0.0}


def test_an_answer_that_is_cut_says_so(decoder: Decoder) -> None:
    answer = decoder.generate([0], regex="(abc){9}", max_tokens=4, seed=1)
    assert (answer.text, answer.finish_reason) == ("abca", "length")


def test_a_score_is_of_the_restricted_goal(decoder: Decoder) -> None:
    free = decoder.score([0], [0, 1])
    masked = decoder.score([0], [0, 1], regex="a[bc]")
    assert masked.goal_logprobs[0] == 0.0  # nothing else may begin it
    allowed = [decoder.score([0], [0, t]).goal_logprobs[1] for t in (1, 2)]
    law = free.goal_logprobs[1] - np.logaddexp(*allowed)
    assert masked.goal_logprobs[1] == pytest.approx(law, abs=1e-6)
    np.testing.assert_array_equal(free.target_logprobs, masked.target_logprobs)
    assert decoder.score([0], [0, 0], regex="a[bc]").goal_logprobs[1] == -math.inf


def test_a_score_of_what_has_left_the_form_is_refused(decoder: Decoder) -> None:
    with pytest.raises(ValueError, match="left its grammar, or ended, with token 2 of 3"):
        decoder.score([0], [0, 0, 1], regex="a[bc]a")


def test_an_echoed_prompt_need_not_have_the_form(decoder: Decoder) -> None:
    answer = decoder.generate([0, 2, 2], choice=["ab"], echo=True, seed=1)
    assert answer.text == "accab"
    assert answer.prompt_scores is not None
    assert np.isfinite(answer.prompt_scores.goal_logprobs).all()


def test_more_than_one_form_is_refused(decoder: Decoder) -> None:
    with pytest.raises(ValueError, match=r"at most one of .*, not grammar and regex"):
        decoder.generate([0], grammar='start: "a"', regex="a")


def test_a_form_that_cannot_be_compiled_is_an_error_that_names_the_option(
    decoder: Decoder,
) -> None:
    with pytest.raises(GrammarError, match=r"^regex: "):
        decoder.generate([0], regex="(")
    assert not decoder.has_work


def test_json_parses_as_what_was_asked_for(speaker: Decoder) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": ["b", "c"]}}, "required": ["a"]}
    form = {
        "type": "json_schema",
        "json_schema": {"schema": {**schema, "additionalProperties": False}},
    }
    for seed in range(3):
        answer = speaker.chat(
            [{"role": "user", "content": "ab"}], response_format=form, seed=seed, max_tokens=256
        )
        if answer.finish_reason == "stop":
            assert json.loads(answer.text)["a"] in ("b", "c")
    one = speaker.alone("target").generate("ab", choice=["a b"], seed=1)
    assert one.text == "a b"
