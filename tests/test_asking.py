"""What may be asked for, in every way of asking, and what is pointed out as a mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import Decoder, TableModel, _core

from .support import precision
from .support.engine import EXACT

if TYPE_CHECKING:
    from .conftest import Files

VOCAB = 6
PROMPT = [1, 3, 4]


def table(seed: int, **facts: Any) -> TableModel:
    logits = np.random.default_rng(seed).normal(size=(VOCAB, VOCAB)).astype(np.float32)
    return TableModel(logits, order=1, pieces=list("abcdef"), **facts)


@pytest.fixture
def decoder() -> Decoder:
    return Decoder.from_models(table(1), table(2), table(3))


@pytest.mark.numeric
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_echo_gives_the_prompt_and_its_scores_in_every_way_of_asking(
    files: Files, temperature: float
) -> None:
    models = [files.model(seed=seed) for seed in range(3)]
    options: dict[str, Any] = {"max_tokens": 4, "seed": 1, "temperature": temperature}
    close = 2 * precision.of_goal(models[0].spec, 1.0, temperature or 1.0)
    with Decoder(*(model.path for model in models), **EXACT) as d:
        plain = d.generate(PROMPT, **options)
        expected = d.score(PROMPT[:1], PROMPT[1:], temperature=temperature or 1.0)
        ways = [
            d.generate(PROMPT, echo=True, **options),
            d.generate_batch([PROMPT], echo=True, **options)[0],
            list(d.stream(PROMPT, echo=True, **options))[-1].completion,
        ]
        for way in ways:
            assert way.tokens == (*PROMPT, *plain.tokens)
            assert way.text == d.detokenize(PROMPT, special=True) + plain.text
            np.testing.assert_allclose(
                way.prompt_scores.goal_logprobs, expected.goal_logprobs, rtol=0, atol=close
            )
            assert np.isfinite(way.prompt_scores.goal_logprobs).all()


def test_echo_without_new_tokens_scores_the_prompt(decoder: Decoder) -> None:
    completion = decoder.generate(PROMPT, echo=True, max_tokens=0)
    assert completion.tokens == tuple(PROMPT)
    assert len(completion.prompt_scores.goal_logprobs) == len(PROMPT) - 1


def test_greedy_top_logprobs_are_those_of_the_goal_at_temperature_one(decoder: Decoder) -> None:
    completion = decoder.generate(PROMPT, temperature=0, top_logprobs=VOCAB, max_tokens=6, seed=0)
    for i, step in enumerate(completion.steps):
        before = [*PROMPT, *completion.tokens[:i]]
        for token, logprob in step.top_logprobs.items():
            expected = decoder.score(before, [token]).goal_logprob
            assert logprob == pytest.approx(expected, abs=precision.DOUBLE)
        assert next(iter(step.top_logprobs)) == step.id
        assert len(step.top_logprobs) == VOCAB


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_scores_tell_the_most_probable_tokens_of_each_position(
    decoder: Decoder, temperature: float
) -> None:
    asked: dict[str, Any] = {"temperature": temperature, "logit_bias": {2: 1.5}}
    score = decoder.score(PROMPT, [0, 5, 2], top_logprobs=4, **asked)
    for i, top in enumerate(score.top_logprobs):
        before = [*PROMPT, *score.tokens[:i]]
        each = [decoder.score(before, [token], **asked).goal_logprob for token in range(VOCAB)]
        best = sorted(range(VOCAB), key=lambda token: -each[token])[:4]
        assert list(top) == best
        assert list(top.values()) == [each[token] for token in best]
    assert decoder.score(PROMPT, [0]).top_logprobs == ()


def test_a_batch_that_is_submitted_is_the_batch_that_is_generated(decoder: Decoder) -> None:
    asked: dict[str, Any] = {"max_tokens": 6, "seed": 3}
    whole = decoder.generate_batch([PROMPT, [0], PROMPT], **asked)
    ids = decoder.submit_batch([PROMPT, [0], PROMPT], **asked)
    ended = {}
    while decoder.has_work:
        ended |= {c.id: c.completion for c in decoder.step() if c.completion is not None}
    assert [ended[request].tokens for request in ids] == [c.tokens for c in whole]
    assert whole[0].tokens != whole[2].tokens
    with pytest.raises(ValueError, match="vocabulary"):
        decoder.submit_batch([PROMPT, [99]], **asked)
    while decoder.has_work:  # what was submitted of it is nobody's
        assert decoder.step() == []


def test_a_decoder_tells_what_it_is_made_of(files: Files) -> None:
    target, draft, reference = files.trio(chat_template="{{ messages }}")
    with Decoder(target.path, draft.path, reference.path, **{**EXACT, "n_seq_max": 3}) as d:
        assert d.places == 3
        paths = {"target": target.path, "draft": draft.path, "reference": reference.path}
        assert d.files == {name: str(path) for name, path in paths.items()}
        assert d.chat_template == "{{ messages }}"
        assert b"".join(map(d.piece, d.tokenize("ab cd", add_special=False))) == b"ab cd"
        with pytest.raises(ValueError, match="outside the vocabulary"):
            d.piece(d.vocab_size)
    tables = Decoder.from_models(table(1))
    assert (tables.files, tables.chat_template, tables.piece(1)) == ({}, None, b"b")


def test_a_decoder_s_seed_is_for_requests_that_name_none(files: Files) -> None:
    path = files.model().path
    with Decoder(path, seed=5, **EXACT) as d:
        assert d.generate(PROMPT, max_tokens=3).seed == 5
        assert d.generate(PROMPT, max_tokens=3, seed=6).seed == 6
        assert d.generate(PROMPT, max_tokens=3, seed=None).seed != 5
        assert {c.seed for c in d.generate_batch([PROMPT] * 2, max_tokens=3)} == {5}


def test_any_role_s_end_of_generation_ends_the_text() -> None:
    for ender in range(3):
        roles = [table(i, end_of_generation={2} if i == ender else set()) for i in range(3)]
        completion = Decoder.from_models(*roles).generate([0], max_tokens=500, seed=0)
        assert completion.finish_reason == "stop"
        assert completion.tokens.index(2) == len(completion.tokens) - 1


# --- mistakes ----------------------------------------------------------------------------------


def test_prompts_for_roles_that_are_not_there_are_mistakes() -> None:
    alone = Decoder.from_models(table(1))
    with pytest.raises(ValueError, match="draft_prompt needs a draft"):
        alone.generate(PROMPT, draft_prompt=[1])
    with pytest.raises(ValueError, match="reference_prompt needs a reference"):
        alone.score(PROMPT, [1], reference_prompt=[1])


def test_a_shift_by_prompt_without_a_reference_is_a_mistake() -> None:
    pair = Decoder.from_models(table(1), table(2))
    for ask in (pair.generate, pair.stream, pair.submit):
        with pytest.raises(ValueError, match="reference"):
            ask(PROMPT, draft_prompt=[1])
    assert pair.generate(PROMPT, draft_prompt=[1], strength=0, max_tokens=2).tokens
    assert pair.generate(PROMPT, draft_prompt=[1], rule="speculative", max_tokens=2).tokens


def test_a_scale_without_an_adapter_is_a_mistake(files: Files) -> None:
    with pytest.raises(ValueError, match="draft_lora_scale needs a draft_lora"):
        Decoder(files.model().path, draft_lora_scale=0.5)


@pytest.mark.parametrize("prompts", ["abc", b"abc"])
def test_a_text_is_no_list_of_prompts(decoder: Decoder, prompts: Any) -> None:
    with pytest.raises(TypeError, match="list of prompts"):
        decoder.generate_batch(prompts)


@pytest.mark.parametrize(
    ("histories", "message"),
    [
        ([(0, [VOCAB], 1)], "not in the vocabulary"),
        ([(0, [-1], 1)], "not in the vocabulary"),
        ([(0, [1], 2)], "no 2 rows"),
        ([(99, [1], 1)], "no sequence 99"),
        ([(0, [1], 1), (0, [2], 1)], "twice"),
    ],
)
def test_requests_that_break_the_contract_are_refused(
    histories: list[tuple[int, list[int], int]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        table(0).logits(histories)


def test_a_table_of_the_wrong_size_is_refused() -> None:
    for shape, order in (((0, 2), 64), ((VOCAB, VOCAB), 2), ((1, VOCAB), 1)):
        with pytest.raises(ValueError, match="needs"):
            TableModel(np.zeros(shape, dtype=np.float32), order=order)


@pytest.mark.parametrize(("name", "value"), [("prefill_chunk", 0), ("num_draft_tokens", -1)])
def test_a_decoder_s_options_are_checked(name: str, value: int) -> None:
    options = _core.DecoderOptions()
    setattr(options, name, value)
    with pytest.raises(ValueError, match=f"{name} .*{value}"):
        _core.Decoder([("target", table(0))], [], None, options)


def test_a_model_is_not_quantised_onto_itself(files: Files) -> None:
    path = str(files.model().path)
    with pytest.raises(ValueError, match="over itself"):
        _core.quantize(path, path, "Q8_0", 1, False, None)


def test_the_target_s_entropy_is_reported_where_it_is_asked_for(decoder: Decoder) -> None:
    asked = decoder.generate(PROMPT, max_tokens=6, seed=0, entropy=True, temperature=0.5)
    for i, step in enumerate(asked.steps):
        law = np.exp(
            [decoder.score([*PROMPT, *asked.tokens[:i]], [t]).target_logprob for t in range(VOCAB)]
        )
        # A sum of terms p log p, each of a float's exponential and a normaliser in float.
        close = 2 * precision.of_normaliser(VOCAB) * (1 - np.log(law).min())
        assert step.target_entropy == pytest.approx(-np.sum(law * np.log(law)), abs=close)
    plain = decoder.generate(PROMPT, max_tokens=6, seed=0, temperature=0.5)
    assert [step.target_entropy for step in plain.steps] == [None] * len(plain.steps)
    assert plain.tokens == asked.tokens


def test_entropy_counts_impossible_tokens_for_nothing() -> None:
    row = np.array([[0.0, 0.0, -np.inf, -np.inf]], dtype=np.float32)
    with Decoder.from_models(TableModel(row)) as d:
        step = d.generate([0], max_tokens=1, entropy=True).steps[0]
    close = 2 * precision.of_normaliser(2) * (1 + np.log(2))
    assert step.target_entropy == pytest.approx(np.log(2), abs=close)


@pytest.mark.parametrize("role", ["target", "draft", "reference"])
def test_a_role_alone_is_that_model(decoder: Decoder, role: Any) -> None:
    lone = decoder.alone(role)
    whole = decoder.score(PROMPT, [2, 5, 1])
    expected = getattr(whole, f"{role}_logprobs")
    np.testing.assert_allclose(lone.score(PROMPT, [2, 5, 1]).target_logprobs, expected)
    with pytest.raises(ValueError, match="strength 1 needs a draft"):
        lone.generate(PROMPT, strength=1.0)


def test_a_role_that_is_not_there_cannot_be_alone() -> None:
    with (
        Decoder.from_models(table(1), table(2)) as d,
        pytest.raises(ValueError, match="there is no 'reference' here, only target, draft"),
    ):
        d.alone("reference")


def test_a_role_alone_reads_text_and_shares_weights_and_cache(files: Files) -> None:
    paths = [files.model(seed=seed).path for seed in range(3)]
    with Decoder(*paths, **EXACT) as d, d.alone("draft") as lone:
        assert lone.tokenize("ab") == d.tokenize("ab")
        d.generate(PROMPT, max_tokens=4, num_draft_tokens=3)
        before = d.work
        lone.generate([*PROMPT, 5], max_tokens=1)
        after = d.work
        assert after["draft"].tokens - before["draft"].tokens <= 2  # the prompt was there
        assert (after["target"], after["reference"]) == (before["target"], before["reference"])
        d.close()
        assert lone.generate(PROMPT, max_tokens=1, seed=1).tokens


def test_work_is_what_the_models_evaluated(files: Files) -> None:
    with Decoder(files.model().path, **EXACT) as d:
        start = d.work["target"]
        forbid = dict.fromkeys((0, 2), -np.inf)
        d.generate(PROMPT, max_tokens=4, logit_bias=forbid)
        first = d.work["target"] - start
        assert (first.tokens, first.batches) == (len(PROMPT) + 3, 4)  # the first reads the prompt
        d.score(PROMPT, [3, 4])
        second = d.work["target"] - start - first
        assert (second.tokens, second.batches) == (2, 1)


def test_a_score_is_one_prefill_in_blocks(files: Files) -> None:
    with Decoder(*[m.path for m in files.trio()], **EXACT) as d:
        tokens = [3 + i % 7 for i in range(200)]
        before = d.work
        d.score(PROMPT, tokens)
        for role, work in d.work.items():
            spent = work - before[role]
            assert (spent.tokens, spent.batches) == (len(PROMPT) + 199, 4)


def test_an_empty_continuation_has_empty_scores(files: Files) -> None:
    with Decoder(*[m.path for m in files.trio()], **EXACT) as d:
        found = d.score(PROMPT, "")
        assert found.draft_logprobs is not None
        assert found.reference_logprobs is not None
        assert found.target_logprobs.shape == found.draft_logprobs.shape == (0,)
        assert found.goal_logprobs.dtype == found.log_z.dtype == float
        assert (found.implicit_reward, found.target_logprob) == (0.0, 0.0)
    with Decoder(files.model().path, **EXACT) as alone:
        assert alone.score(PROMPT, "").draft_logprobs is None
        assert alone.score(PROMPT, "").implicit_reward is None


def test_what_is_forgotten_is_evaluated_again_and_comes_out_the_same(files: Files) -> None:
    with Decoder(*[m.path for m in files.trio()], **EXACT) as d:
        found, spent = [], []
        for forgets in (False, False, True):
            if forgets:
                d.forget()
            before = d.work["target"]
            found.append(d.generate(PROMPT, max_tokens=4, seed=1).tokens)
            spent.append((d.work["target"] - before).tokens)
        assert found == found[:1] * 3
        assert spent[0] == spent[2] > spent[1]
        request = d.submit(PROMPT, max_tokens=4, seed=1)
        tokens: list[int] = []
        while d.has_work:
            tokens += [t.id for chunk in d.step() if chunk.id == request for t in chunk.tokens]
            d.forget()
        assert tuple(tokens) == found[0]


def test_tables_have_text_and_ends_too() -> None:
    with Decoder.from_models(table(1, end_of_generation={4}), table(2, end_of_generation={2})) as d:
        assert d.end_of_generation == (2, 4)
        assert d.detokenize([0, 1, 5]) == "abf"
