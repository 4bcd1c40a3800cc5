"""Prompts and options as users give them: what they mean, and what is no such thing."""

from __future__ import annotations

import array
import collections
import multiprocessing
import os
import pickle
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import (
    ChatTemplateError,
    Decoder,
    LengthWarning,
    ModelLoadError,
    NgramTable,
    TableModel,
)
from rewardshift.rewards import GGUFRewardModel, JudgeReward
from tests.support.engine import EXACT
from tests.support.tiny_gguf import CHATML_TEMPLATE, bpe_vocab, spm_vocab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Files

BYTES = spm_vocab(60, byte_tokens=True)
BOS, EOS = 1, 2


@pytest.fixture(scope="module")
def spm(files: Files) -> Iterator[Decoder]:
    """Adds a begin-of-text token."""
    with Decoder(*(m.path for m in files.trio(vocab=BYTES)), **EXACT) as made:
        yield made


@pytest.fixture(scope="module")
def bpe(files: Files) -> Iterator[Decoder]:
    """Adds none."""
    trio = files.trio(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE)
    with Decoder(*(m.path for m in trio), **EXACT) as made:
        yield made


# --- begin and end of text ---------------------------------------------------------------------


def test_a_begin_of_text_token_that_is_written_is_not_doubled(spm: Decoder) -> None:
    text = spm.tokenize("ab", add_special=False)
    assert spm.tokenize("ab") == spm.tokenize("<s>ab") == [BOS, *text]
    assert spm.tokenize("<s>ab", add_special=False) == [BOS, *text]
    assert spm.tokenize("<s>") == spm.tokenize("") == [BOS]
    assert spm.tokenize("<s>ab", parse_special=False)[0] == BOS
    assert spm.tokenize("<s>ab", parse_special=False)[1:] != text  # it is text, and gets one


def test_a_byte_pair_vocabulary_doubles_none_either(files: Files) -> None:
    with Decoder(files.model(vocab=bpe_vocab(add_bos=True)).path, **EXACT) as decoder:
        assert decoder.tokenize("<|endoftext|>ab") == decoder.tokenize("ab")
        assert decoder.tokenize("ab")[0] == 0


def test_an_end_of_text_token_that_is_written_is_not_doubled(files: Files) -> None:
    vocab = spm_vocab(60, byte_tokens=True, add_eos=True)
    with Decoder(files.model(vocab=vocab).path, **EXACT) as decoder:
        text = decoder.tokenize("ab", add_special=False)
        assert decoder.tokenize("ab") == decoder.tokenize("<s>ab</s>") == [BOS, *text, EOS]
        assert decoder.tokenize("") == [BOS, EOS]


@pytest.mark.parametrize(
    ("options", "prompt"),
    [
        ({}, [BOS, "ab"]),
        ({"add_special": False}, ["ab"]),
        ({"parse_special": False}, [BOS, "<s>ab"]),
        ({"add_special": False, "parse_special": False}, ["<s>ab"]),
    ],
)
def test_every_way_of_asking_reads_text_as_it_is_told(
    spm: Decoder, options: dict[str, bool], prompt: list[Any]
) -> None:
    text = "ab" if prompt == ["ab"] else "<s>ab"
    tokens = [
        token
        for part in prompt
        for token in (
            spm.tokenize(part, add_special=False, parse_special=False)
            if isinstance(part, str)
            else [part]
        )
    ]
    sampling: dict[str, Any] = {"max_tokens": 6, "seed": 3, "num_draft_tokens": 2}
    expected = spm.generate(tokens, draft_prompt=tokens, **sampling)
    given = {**sampling, **options}
    assert spm.generate(text, **given).tokens == expected.tokens
    assert spm.generate("a", draft_prompt=text, **given).tokens == (
        spm.generate(
            spm.tokenize("a", add_special=options.get("add_special", True)),
            draft_prompt=tokens,
            **sampling,
        ).tokens
    )
    (batched,) = spm.generate_batch([text], **given)
    *_, last = spm.stream(text, **given)
    request = spm.submit(text, **given)
    chunks = [chunk for chunk in iter_steps(spm) if chunk.id == request]
    for completion in (batched, last.completion, chunks[-1].completion):
        assert (completion.tokens, completion.prompt_tokens) == (expected.tokens, len(tokens))
    np.testing.assert_array_equal(
        spm.score(text, [5, 6], **options).target_logprobs,
        spm.score(tokens, [5, 6]).target_logprobs,
    )


def iter_steps(decoder: Decoder) -> Iterator[Any]:
    while decoder.has_work:
        yield from decoder.step()


def test_a_continuation_s_control_tokens_are_read_as_it_is_told(spm: Decoder) -> None:
    assert spm.score("ab", "</s>").tokens == (EOS,)
    plain = spm.score("ab", "</s>", parse_special=False).tokens
    assert spm.detokenize(plain) == "</s>"


# --- prompts of roles --------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["draft", "reference"])
@pytest.mark.parametrize("empty", ["", [], ()])
def test_an_empty_prompt_of_a_role_is_refused(bpe: Decoder, role: str, empty: Any) -> None:
    asked: dict[str, Any] = {f"{role}_prompt": empty}
    calls: list[Callable[[], object]] = [
        lambda: bpe.generate("ab", **asked),
        lambda: bpe.stream("ab", **asked),
        lambda: bpe.submit("ab", **asked),
        lambda: bpe.score("ab", "cd", **asked),
        lambda: bpe.generate_batch(["ab"], **{f"{role}_prompts": [empty]}),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=f"the {role}'s prompt has no tokens"):
            call()
    with pytest.raises(ValueError, match="the prompt has no tokens"):
        bpe.generate(empty)
    assert not bpe.has_work


def test_an_empty_text_is_a_prompt_where_a_begin_of_text_token_makes_it_one(spm: Decoder) -> None:
    options: dict[str, Any] = {"seed": 0, "max_tokens": 4}
    asked = spm.generate("ab", draft_prompt="", **options)
    assert asked.tokens == spm.generate("ab", draft_prompt=[BOS], **options).tokens


def test_prompts_of_a_batch_are_any_iterable(bpe: Decoder) -> None:
    texts = ["ab", "cd", "ab cd"]
    options: dict[str, Any] = {"seed": 1, "max_tokens": 5}
    expected = [c.tokens for c in bpe.generate_batch(texts, draft_prompts=texts[::-1], **options)]
    ways: list[tuple[Any, Any]] = [
        ((t for t in texts), (t for t in texts[::-1])),
        (iter(texts), reversed(texts)),
        (tuple(texts), collections.deque(texts[::-1])),
        (map(str, texts), map(str, texts[::-1])),
    ]
    for prompts, drafts in ways:
        found = bpe.generate_batch(prompts, draft_prompts=drafts, **options)
        assert [c.tokens for c in found] == expected
    drafts = ["ab cd", None, "ab"]
    found = bpe.generate_batch(texts, draft_prompts=drafts, **options)
    assert [c.tokens for c in found][::2] == expected[::2]
    assert found[1].tokens == bpe.generate_batch(["ab", "cd"], **options)[1].tokens
    assert bpe.generate_batch(iter([])) == []


@pytest.mark.parametrize("prompts", ["ab", b"ab", {"ab": 1}, {"ab", "cd"}, None, 5])
def test_what_is_no_list_of_prompts_is_named(bpe: Decoder, prompts: Any) -> None:
    with pytest.raises(TypeError, match="prompts must be a list of prompts, not"):
        bpe.generate_batch(prompts)
    if prompts is not None:
        with pytest.raises(TypeError, match="draft_prompts must be a list of prompts, not"):
            bpe.generate_batch(["ab"], draft_prompts=prompts)


# --- token ids ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tokens",
    [
        (5, 6),
        range(5, 7),
        array.array("i", [5, 6]),
        np.array([5, 6], dtype=np.uint8),
        collections.deque([5, 6]),
        iter([5, 6]),
        np.array([5, 6]).tolist(),
    ],
    ids=lambda tokens: type(tokens).__name__,
)
def test_whatever_holds_ids_in_order_is_a_prompt(bpe: Decoder, tokens: Any) -> None:
    expected = bpe.generate([5, 6], seed=0, max_tokens=3).tokens
    assert bpe.generate(tokens, seed=0, max_tokens=3).tokens == expected


@pytest.mark.parametrize(
    "tokens",
    [
        b"ab",
        bytearray(b"ab"),
        memoryview(b"ab"),
        {5, 6},
        frozenset([5]),
        {5: 6},
        {5: 6}.keys(),
        [True, False],
        [5.0],
        np.array([5.0]),
        np.array([True]),
        np.array([[5, 6]]),
        ["a"],
        5,
        None,
    ],
    ids=repr,
)
def test_what_holds_no_ids_in_order_is_none(bpe: Decoder, tokens: Any) -> None:
    for call in (
        lambda: bpe.generate(tokens),
        lambda: bpe.score("ab", tokens),
        lambda: bpe.generate_batch([tokens]),
    ):
        with pytest.raises(TypeError, match="a prompt is text or token ids, not"):
            call()
    with pytest.raises(TypeError, match="tokens must be token ids, not"):
        bpe.detokenize(tokens)


def test_text_is_no_token_ids(bpe: Decoder) -> None:
    with pytest.raises(TypeError, match="tokens must be token ids, not 'abc'"):
        bpe.detokenize("abc")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["\ud800", "ab\udcff", "\udc80 cd"])
def test_half_a_pair_is_no_unicode_wherever_it_stands(bpe: Decoder, text: str) -> None:
    """As Python makes them of command lines and file names that are not UTF-8."""
    calls: list[Callable[[], object]] = [
        lambda: bpe.tokenize(text),
        lambda: bpe.generate(text),
        lambda: bpe.generate("ab", draft_prompt=text),
        lambda: bpe.score("ab", text),
    ]
    for call in calls:
        with pytest.raises(
            ValueError, match=r"text must be Unicode; character \d is '\\ud"
        ) as told:
            call()
        str(told.value).encode()  # so that it can be printed
    with pytest.raises(ChatTemplateError, match="message 1: content must be Unicode; character"):
        bpe.chat([{"role": "user", "content": text}])
    with pytest.raises(ValueError, match="text must be Unicode"):
        bpe.chat([{"role": text, "content": "ab"}])
    with pytest.raises(TypeError, match=r"stop cannot be \['\\ud800'\]"):
        bpe.generate("ab", stop=["\ud800"])


@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode elsewhere")
def test_a_file_whose_name_is_not_utf_8_says_so(files: Files, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"model-\xff.gguf")
    path.symlink_to(files.model().path)
    with pytest.raises(ModelLoadError, match=r"model-.*the name of this file is not UTF-8") as told:
        Decoder(path)
    str(told.value).encode()


# --- options -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bias",
    [{28.7: 5}, {"x": 5}, {"2.5": 5}, {True: 5}, {None: 5}, {5: "1"}, {5: None}, {5: True}, [5], 5],
    ids=repr,
)
def test_a_bias_is_a_number_for_a_token(bpe: Decoder, bias: Any) -> None:
    with pytest.raises(TypeError, match="logit_bias cannot be"):
        bpe.generate("ab", logit_bias=bias)


def test_ids_of_biases_may_be_text_as_json_has_them(bpe: Decoder) -> None:
    for bias in ({20: 1000.0}, {"20": 1000}, {np.int64(20): np.float32(1000)}):
        assert bpe.generate("ab", max_tokens=2, logit_bias=bias).tokens == (20, 20)


@pytest.mark.parametrize("stop", [b"e", 5, [b"e"], ["e", None], {"e": 1}, bytearray(b"e")])
def test_a_stop_is_text(bpe: Decoder, stop: Any) -> None:
    with pytest.raises(TypeError, match="stop cannot be"):
        bpe.generate("ab", stop=stop)


def test_stops_are_any_iterable_of_texts(bpe: Decoder) -> None:
    letters = dict.fromkeys(bpe.tokenize("xyz"), 1000.0)
    options: dict[str, Any] = {"seed": 4, "max_tokens": 60, "logit_bias": letters, "strength": 0.0}
    expected = bpe.generate("ab", **options, stop=["xy"])
    assert expected.finish_reason == "stop"
    for stops in ("xy", {"xy"}, ("xy",), iter(["xy"])):
        assert bpe.generate("ab", **options, stop=stops).text == expected.text
    batch = bpe.generate_batch(["ab"] * 3, **options, stop=iter(["xy"]))
    assert {completion.finish_reason for completion in batch} == {"stop"}


@pytest.mark.parametrize(
    "name",
    ["max_tokens", "temperature", "top_k", "strength", "seed", "num_draft_tokens", "logprobs"],
)
def test_a_truth_value_is_no_number(bpe: Decoder, name: str) -> None:
    with pytest.raises(TypeError, match=f"{name} cannot be True"):
        bpe.generate("ab", **{name: True})


def test_a_number_is_no_truth_value(bpe: Decoder, files: Files) -> None:
    for name in ("echo", "entropy"):
        with pytest.raises(TypeError, match=f"{name} cannot be 1"):
            bpe.generate("ab", **{name: 1})
    for name in ("add_special", "parse_special"):
        with pytest.raises(TypeError, match=f"{name} must be True or False, not 'no'"):
            bpe.generate("ab", **{name: "no"})
    with pytest.raises(TypeError, match="n_ctx cannot be True"):
        Decoder(files.model().path, n_ctx=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_tokens", 3), ("stop", "a"), ("seed", 1), ("echo", True), ("num_draft_tokens", 0)],
)
def test_an_option_that_scoring_would_ignore_is_named(
    bpe: Decoder, name: str, value: object
) -> None:
    with pytest.raises(TypeError, match=f"score has no use for {name}: nothing is sampled"):
        bpe.score("ab", "cd", **{name: value})
    with pytest.raises(TypeError, match="unknown option 'temprature'"):
        bpe.score("ab", "cd", temprature=1.0)


@pytest.mark.parametrize("seed", ["lucky", 1.5, -2, True])
def test_a_decoder_s_seed_is_one(files: Files, seed: Any) -> None:
    with pytest.raises(TypeError, match="seed cannot be"):
        Decoder(files.model().path, seed=seed, **EXACT)


@pytest.mark.parametrize("scale", ["1", None, True, b"1"])
def test_the_scale_of_an_adapter_is_a_number(files: Files, scale: Any) -> None:
    path = files.model().path
    if scale is not None:
        with pytest.raises(TypeError, match="draft_lora_scale must be a number, not"):
            Decoder(path, path, draft_lora=path, draft_lora_scale=scale)


# --- longer than what was learned --------------------------------------------------------------


def test_a_context_that_no_requests_can_fill_is_warned_of(files: Files) -> None:
    target, draft = files.model().path, files.model(n_ctx_train=64).path
    with pytest.warns(
        LengthWarning, match=r"n_ctx=200 is more than 2 requests .* 64 tokens .*the draft"
    ) as told:
        Decoder(target, draft, **{**EXACT, "n_ctx": 200, "n_seq_max": 2}).close()
    assert [warning.filename for warning in told] == [__file__]
    Decoder(target, draft, **{**EXACT, "n_ctx": 128, "n_seq_max": 2}).close()


def test_a_request_that_may_grow_beyond_what_a_role_learned_is_warned_of(files: Files) -> None:
    target, draft = files.model().path, files.model(n_ctx_train=64).path
    said = r"this request may have 70 tokens .*the draft was trained for 64"
    with Decoder(target, draft, **EXACT) as decoder:
        decoder.generate([3] * 4, max_tokens=60)
        asked: list[Callable[[], object]] = [
            lambda: decoder.generate([3] * 10, max_tokens=60),
            lambda: decoder.generate([3], draft_prompt=[3] * 10, max_tokens=60, strength=0),
            lambda: decoder.generate_batch([[3] * 10], max_tokens=60),
            lambda: decoder.score([3] * 10, [4] * 60),
        ]
        for ask in asked:
            with pytest.warns(LengthWarning, match=said) as told:
                ask()
            assert [warning.filename for warning in told] == [__file__]
        with pytest.warns(LengthWarning, match="may have 256 tokens"):
            decoder.generate([3] * 10, max_tokens=None, logit_bias={EOS: 100})


# --- echo --------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["ab cd", "ab<|im_end|>", [5, 1, 6], "\u20ac"])
@pytest.mark.parametrize("most", [0, 1, 12])
def test_chunks_of_an_echo_are_its_text(bpe: Decoder, prompt: Any, most: int) -> None:
    options: dict[str, Any] = {"seed": 2, "max_tokens": most}
    plain = bpe.generate(prompt, **options)
    chunks = list(bpe.stream(prompt, echo=True, **options))
    completion = chunks[-1].completion
    shown = prompt if isinstance(prompt, str) else bpe.detokenize(prompt, special=True)
    assert completion.text == shown + plain.text
    assert "".join(chunk.text for chunk in chunks) == completion.text
    assert tuple(t.id for chunk in chunks for t in chunk.tokens) == plain.tokens
    bpe.submit(prompt, echo=True, **options)
    assert "".join(chunk.text for chunk in iter_steps(bpe)) == completion.text


def test_an_echoed_conversation_shows_its_control_tokens(bpe: Decoder) -> None:
    talk = [{"role": "user", "content": "ab"}]
    rendered = "<|im_start|>user\nab<|im_end|>\n<|im_start|>assistant\n"
    asked = bpe.chat(talk, echo=True, seed=1, max_tokens=4)
    assert asked.text == rendered + bpe.chat(talk, seed=1, max_tokens=4).text
    chunks = list(bpe.stream_chat(talk, echo=True, seed=1, max_tokens=4))
    assert "".join(chunk.text for chunk in chunks) == asked.text


def test_echo_is_for_tables_too() -> None:
    table = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    with Decoder.from_models(TableModel(table, order=1, pieces=list("abc"))) as decoder:
        asked = decoder.generate([0, 1], echo=True, seed=0, max_tokens=3)
        assert asked.text.startswith("ab")
        assert asked.text == decoder.detokenize(asked.tokens)


# --- other processes ---------------------------------------------------------------------------


def test_what_holds_models_says_what_to_do_instead_of_pickling_it(files: Files) -> None:
    chatty = files.model(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE).path
    head = files.model(arch="qwen3", classes=("a", "b"), vocab=BYTES, chat_template=CHATML_TEMPLATE)
    with Decoder(chatty, **EXACT) as decoder:
        stream = decoder.stream("ab", max_tokens=2)
        table = TableModel(np.zeros((1, 2), dtype=np.float32))
        reward = GGUFRewardModel(head.path, n_ctx=64, n_threads=1)
        judge = JudgeReward(chatty, n_ctx=64, n_threads=1)
        for thing, name in (
            (decoder, "Decoder"),
            (decoder.alone("target"), "Decoder"),
            (stream, "Stream"),
            (table, "TableModel"),
            (NgramTable(), "NgramTable"),
            (reward, "GGUFRewardModel"),
            (judge, "Decoder"),
        ):
            said = f"a {name} stays in the process that made it.*make another {name} in the process"
            with pytest.raises(TypeError, match=said):
                pickle.dumps(thing)
        process = multiprocessing.get_context("spawn").Process(target=print, args=(decoder,))
        with pytest.raises(TypeError, match="a Decoder stays in the process"):
            process.start()
        assert decoder.generate("ab", max_tokens=1).tokens


def test_results_can_be_pickled(bpe: Decoder) -> None:
    *chunks, last = bpe.stream("ab", echo=True, max_tokens=3, seed=0, num_draft_tokens=2)
    for result in (*chunks, last, last.completion.statistics):
        assert repr(pickle.loads(pickle.dumps(result))) == repr(result)
