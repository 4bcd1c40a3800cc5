"""Files of other vocabularies as shifts, drafts and bases: what each model reads, and what it says.

The oracle is numpy over the files' weights, and the models' own tokenizers; see
``docs/architecture.md``, "Other vocabularies".
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from gguf import TokenType

from rewardshift import (
    ChatTemplateError,
    Decoder,
    Shift,
    VocabularyMismatchError,
    VocabularyWarning,
    _core,
)
from rewardshift.check import CheckOptions, check_pair, verdict
from rewardshift.methods import GSI, SSS, Question
from rewardshift.rewards import ImplicitReward
from tests.support import numpy_forward
from tests.support.engine import EXACT
from tests.support.foreign_panels import log_softmax
from tests.support.tiny_gguf import (
    CHATML_TEMPLATE,
    TinyLora,
    TinyModel,
    TinyVocab,
    bpe_vocab,
    spm_vocab,
    write_lora,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import Files

TEXTS: Any = {"seed": 5, "max_tokens": 12}
TALK: Any = [{"role": "user", "content": "ab cd"}]
OTHER_TEMPLATE = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}cd:"
TARGET = bpe_vocab()
OTHER = spm_vocab(18, byte_tokens=True)
LEAST_SHARE = 0.003
"""Of the target's mass: tokens that have less are not refined."""


@dataclass(frozen=True)
class Kinds:
    """A target, and a pair of another vocabulary with an adapter."""

    target: TinyModel
    draft: TinyModel
    small: TinyModel
    lora: TinyLora

    @property
    def pair(self) -> dict[str, Path]:
        return {"draft": self.draft.path, "reference": self.small.path}


@pytest.fixture(scope="module")
def kinds(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Kinds:
    target = files.model(vocab=TARGET, chat_template=CHATML_TEMPLATE, scale=1.0)
    other: dict[str, Any] = {"vocab": OTHER, "chat_template": OTHER_TEMPLATE}
    draft, small = (files.model(**other, noise=0.35, noise_seed=i) for i in (1, 2))
    path = tmp_path_factory.mktemp("foreign") / "lora.gguf"
    return Kinds(target, draft, small, write_lora(path, small, scale=0.8))


@pytest.fixture(scope="module")
def decoder(kinds: Kinds) -> Any:
    with Decoder(kinds.target.path, **kinds.pair, **EXACT) as opened:
        yield opened


# --- what a pair says ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Oracle:
    """A model of another vocabulary, by its own tokenizer and numpy."""

    model: TinyModel
    target: _core.Model
    own: _core.Model

    @classmethod
    def of(cls, model: TinyModel, target: TinyModel) -> Oracle:
        loaded = [
            _core.Model.load(str(m.path), _core.ModelOptions(), None) for m in (target, model)
        ]
        return cls(model, *loaded)

    def read(self, tokens: Sequence[int]) -> list[int]:
        text = self.target.detokenize(list(tokens), False).decode()
        return [OTHER.bos, *self.own.tokenize(text, False, False)]

    def pieces(self, token: int) -> list[int]:
        if token in TARGET.eog:
            return [OTHER.eos]
        return self.own.tokenize(self.target.detokenize([token], False).decode(), False, False)

    def said(self, before: list[int], token: int, *, is_likely: bool) -> float:
        total, pieces = 0.0, self.pieces(token)
        for i in range(len(pieces) if is_likely else 1):
            rows = numpy_forward.logits(self.model, tuple(before + pieces[:i]))
            total += log_softmax(rows[-1])[pieces[i]]
        return total


def ascii_tokens() -> list[int]:
    return [i for i, text in enumerate(TARGET.tokens) if i > 2 and text.replace("Ġ", "").isalpha()
            and text.isascii()]  # fmt: skip


@pytest.mark.parametrize("k", [0, 2, 16])
def test_lambda_is_that_of_the_text_in_the_pairs_own_tokens(kinds: Kinds, k: int) -> None:
    rng = np.random.default_rng(1)
    prompt, *continuation = (int(x) for x in rng.choice(ascii_tokens(), 24))
    merged = [TARGET.tokens.index(text) for text in ("ab", "abcd", "Ġa", "Ġb", "cd")]
    continuation += merged * 2
    draft, small = (Oracle.of(m, kinds.target) for m in (kinds.draft, kinds.small))
    with Decoder(kinds.target.path, **kinds.pair, refined_tokens=k, **EXACT) as opened:
        score = opened.score([prompt], continuation, strength=0.7, temperature=0.9)
    unrefined = 0
    for i, token in enumerate(continuation):
        history = (prompt, *continuation[:i])
        p = numpy_forward.logits(kinds.target, history)[-1]
        share = np.exp(log_softmax(p))
        likely = {int(x) for x in np.argsort(-p, kind="stable")[:k] if share[x] >= LEAST_SHARE}
        before = draft.read(history)
        ratios = [
            draft.said(before, x, is_likely=x in likely)
            - small.said(before, x, is_likely=x in likely)
            for x in (token, continuation[0])
        ]
        assert score.shifts["draft"][i] == pytest.approx(ratios[0], abs=1e-4)
        unrefined += len(draft.pieces(token)) > 1 and token not in likely
    assert unrefined > 0 or k > 0


def test_what_is_told_of_a_response_names_the_shared_mass_and_k(decoder: Decoder) -> None:
    found = decoder.generate("ab cd", **TEXTS)
    told = found.statistics.shifts["draft"]
    assert told.refined_tokens == 16
    assert told.twins == pytest.approx(np.mean([s.twins["draft"] for s in found.steps]))
    assert 0 < told.twins < 1


# --- texts do not depend on how they were made ----------------------------------------------------


def test_a_request_apart_is_the_same_alone_and_after_others(decoder: Decoder, kinds: Kinds) -> None:
    first = decoder.generate("ab cd", **TEXTS)
    decoder.generate("cab", strength=2.0, seed=1, max_tokens=8)
    decoder.chat(TALK, strength=-1.0, seed=2, max_tokens=8)
    again = decoder.generate("ab cd", **TEXTS)
    with Decoder(kinds.target.path, **kinds.pair, **EXACT) as other:
        anew = other.generate("ab cd", **TEXTS)
    for same in (again, anew):
        assert (same.tokens, same.logprobs) == (first.tokens, first.logprobs)
        assert [s.shifts for s in same.steps] == [s.shifts for s in first.steps]


@pytest.mark.parametrize("strength", [-1.0, 1.0, 2.5])
def test_temperature_zero_is_one_text_however_it_is_drafted(
    decoder: Decoder, strength: float
) -> None:
    ways: list[dict[str, Any]] = [
        {"num_draft_tokens": 0},
        {"num_draft_tokens": 3},
        {"num_draft_tokens": 5, "tree_width": 2},
        {"num_draft_tokens": 4, "deterministic": True},
        {"num_draft_tokens": 4, "prompt_lookup": True},
    ]
    texts = {
        decoder.chat(TALK, strength=strength, temperature=0, max_tokens=20, **way).tokens
        for way in ways
    }
    assert len(texts) == 1


def test_what_is_said_of_a_text_is_what_was_said_when_it_was_generated(decoder: Decoder) -> None:
    """With drafts or without, step by step or at once: also of texts that are cut differently."""
    prompt = "ab cd ab"
    for k in (0, 4):
        found = decoder.generate(prompt, seed=3, max_tokens=24, num_draft_tokens=k)
        score = decoder.score(prompt, found.tokens, temperature=0.8)
        told = [step.shifts["draft"] for step in found.steps]
        np.testing.assert_allclose(told, score.shifts["draft"], atol=1e-4)
        np.testing.assert_allclose([s.log_z for s in found.steps], score.log_z, atol=1e-4)


# --- what each model reads ------------------------------------------------------------------------


def test_each_model_reads_a_conversation_in_its_own_template(
    decoder: Decoder, kinds: Kinds
) -> None:
    target, draft = decoder.chat_prompts(TALK)
    assert draft is None
    assert decoder.detokenize(target, special=True).startswith("<|im_start|>user\nab cd<|im_end|>")
    own = _core.Model.load(str(kinds.draft.path), _core.ModelOptions(), None)
    first = len(TARGET.tokens)
    seen = target.seen_by("draft")
    assert own.detokenize([t - first for t in seen], True) == b"<s>user: ab cd\ncd:"
    assert target.seen_by("reference") == seen
    chatted = decoder.chat(TALK, **TEXTS)
    assert decoder.generate(target, **TEXTS).tokens == chatted.tokens
    assert decoder.generate(list(target), **TEXTS).logprobs != chatted.logprobs
    longer = target.followed_by(chatted.tokens[:3])
    assert longer == [*target, *chatted.tokens[:3]]
    assert longer.seen_by("draft") == [*seen, *chatted.tokens[:3]]
    told = decoder.score(longer, chatted.tokens[3:], temperature=0.8).shifts["draft"]
    np.testing.assert_allclose(told, [s.shifts["draft"] for s in chatted.steps[3:]], atol=1e-4)
    longer[0] += 1
    assert longer.seen_by("draft") == longer


def test_text_is_read_as_the_bytes_that_the_target_sees(kinds: Kinds) -> None:
    """Behind the token that the model's texts begin with, which the target has not."""
    with Decoder(kinds.target.path, **kinds.pair, **EXACT) as opened:
        first = len(TARGET.tokens)
        ids = opened.tokenize("ab cd")
        asked = opened.score("ab cd", "ab").shifts["draft"]
        same = [first + OTHER.bos, *ids]
        told = opened.score(ids, "ab", draft_prompt=same, reference_prompt=same).shifts["draft"]
        np.testing.assert_array_equal(asked, told)
        np.testing.assert_array_equal(opened.score(ids, "ab").shifts["draft"], asked)
        bare = [first + OTHER.tokens.index("a"), *ids[1:]]
        told = opened.score(ids, "ab", draft_prompt=bare, reference_prompt=bare).shifts["draft"]
        assert not np.allclose(told, asked)
        with pytest.raises(ValueError, match=f"token {first} is outside the vocabulary"):
            opened.generate([first])
        end = first + len(OTHER.tokens)
        with pytest.raises(ValueError, match=f"token {end} is outside the vocabulary"):
            opened.generate(ids, draft_prompt=[end])


def test_conversations_in_turn_are_each_read_once_by_readers_of_another_vocabulary(
    kinds: Kinds,
) -> None:
    prompts = [[3 + i % 5 + turn for i in range(40)] for turn in (0, 6)]
    with Decoder(kinds.target.path, **kinds.pair, **EXACT) as opened:
        spent = []
        for prompt in (*prompts, [*prompts[0], 5, 6]):
            before = opened.work
            opened.generate(prompt, max_tokens=1, strength=1.0, num_draft_tokens=0)
            spent.append({name: (work - before[name]).tokens for name, work in opened.work.items()})
    for reader, tokens in spent[2].items():
        assert tokens < spent[0][reader] / 2, reader


def test_a_system_message_for_the_draft_is_rendered_by_its_own_template(kinds: Kinds) -> None:
    asked = Shift(reference=kinds.small.path, draft_system="dab")
    with Decoder(kinds.target.path, shift=asked, **EXACT) as opened:
        models = opened._engine.models
        assert models["draft"] is models["reference"]
        target, draft = opened.chat_prompts(TALK)
        assert draft is not None
        seen = [t - len(TARGET.tokens) for t in draft]
        own = _core.Model.load(str(kinds.small.path), _core.ModelOptions(), None)
        assert own.detokenize(seen, True) == b"<s>system: dab\n<s>user: ab cd\ncd:"
        chatted = opened.chat(TALK, **TEXTS)
        told = opened.generate(target, draft_prompt=draft, **TEXTS)
        assert told.logprobs == chatted.logprobs
        assert chatted.statistics.implicit_reward != 0


def test_a_model_without_a_template_is_named(kinds: Kinds, files: Files) -> None:
    bare = files.model(vocab=OTHER, noise=0.35, noise_seed=4).path
    with Decoder(kinds.target.path, kinds.draft.path, bare, **EXACT) as opened:
        with pytest.raises(ChatTemplateError, match=f"{bare} has no chat template"):
            opened.chat(TALK)
        assert opened.generate("ab", max_tokens=3, seed=0).tokens


# --- roles ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["draft", "base"])
def test_what_only_drafts_leaves_the_text_alone(kinds: Kinds, name: str) -> None:
    given: Any = {name: kinds.small.path}
    with (
        Decoder(kinds.target.path, **EXACT) as plain,
        Decoder(kinds.target.path, **given, **EXACT) as drafted,
    ):
        for ask in (plain, drafted):
            assert ask.vocab_size == len(TARGET.tokens)
        options: Any = {"temperature": 0, "max_tokens": 24}
        expected = plain.generate("ab cd", **options)
        for way in ({"num_draft_tokens": 4}, {"num_draft_tokens": 5, "tree_width": 2}):
            found = drafted.generate("ab cd", **way, **options)
            assert found.tokens == expected.tokens
            assert found.statistics.drafted > 0


def test_the_pair_of_the_package_shifts_any_target(kinds: Kinds) -> None:
    with Decoder(kinds.target.path, shift="positive", **EXACT) as opened:
        shifted = opened.chat(TALK, **TEXTS)
        assert shifted.statistics.shifts["positive"].mean_abs_log_ratio > 0
        assert opened.chat(TALK, strength=0, **TEXTS).statistics.shifts == {}
        score = opened.score("ab cd", " ab", strength=2.0)
        expected = score.target_logprobs + 2 * score.shifts["positive"] - score.log_z
        np.testing.assert_allclose(score.goal_logprobs, expected, atol=1e-4)


def test_an_adapter_shifts_a_model_of_another_vocabulary(kinds: Kinds) -> None:
    adapted = Shift(reference=kinds.small.path, lora=kinds.lora.path)
    native = Shift(kinds.target.path, draft_system="dab", strength=0.5)
    with Decoder(kinds.target.path, shifts={"a": adapted, "b": native}, **EXACT) as opened:
        assert [r.vocabulary is None for r in opened._engine.panel.readers] == [
            *(True, False),
            *(True, False, True),
        ]
        assert opened.has_own_vocabulary("a shift")
        assert not opened.has_own_vocabulary("target")
        found = opened.chat(TALK, strength={"a": 1.0, "b": 0.5}, **TEXTS)
        told = found.statistics.shifts
        assert told["a"].mean_abs_log_ratio > 0
        assert (told["a"].twins is None, told["b"].twins is None) == (False, True)


def test_check_pair_measures_the_shared_mass(kinds: Kinds) -> None:
    options = CheckOptions(temperatures=(0.8,), strengths=(1.0,), draft_tokens=2, max_tokens=12)
    roles: Any = {"target": kinds.target.path, **kinds.pair, **EXACT}
    found = check_pair(roles, ["ab cd", "cab"], options, progress=False)
    assert found.twins is not None
    assert 0 < found.twins < 1
    assert found.strengths[0].paper_distance is None
    told = verdict(found, temperature=0.8).sentences
    assert any("tokens that the pair's vocabulary has" in sentence for sentence in told)
    assert any("Rule paper is not defined" in sentence for sentence in told)
    native: Any = {**roles, "draft": kinds.target.path, "reference": kinds.target.path}
    assert check_pair(native, ["ab cd"], options, progress=False).twins is None


def test_methods_read_the_conversation_as_chat_does(decoder: Decoder) -> None:
    asked, _ = decoder.chat_prompts(TALK)
    question = Question("ab cd", asked, seed=3, max_tokens=8, temperature=0.8)
    answer = SSS(strength=1.0).answer(decoder, question)
    options: Any = {"seed": 3, "max_tokens": 8, "temperature": 0.8, "deterministic": False}
    assert answer.tokens == decoder.chat(TALK, strength=1.0, **options).tokens
    with pytest.raises(ValueError, match="the draft has another vocabulary than the target"):
        GSI(reward=lambda exchanges: [0.0] * len(exchanges)).answer(decoder, question)
    reward = ImplicitReward(decoder)([("ab cd", "cab")])
    said = decoder.tokenize("cab", add_special=False)
    assert reward == pytest.approx([decoder.score(asked, said).implicit_reward], abs=1e-6)


def test_a_reader_alone_speaks_its_own_vocabulary(decoder: Decoder, kinds: Kinds) -> None:
    alone = decoder.alone("draft")
    assert alone.vocab_size == len(OTHER.tokens)
    ids = alone.tokenize("ab cd")
    score = alone.score(ids, [OTHER.tokens.index("cd")])
    z = numpy_forward.logits(kinds.draft, tuple(ids))[-1]
    expected = log_softmax(z)[OTHER.tokens.index("cd")]
    assert score.target_logprobs[0] == pytest.approx(expected, abs=1e-4)
    assert decoder.alone("target").vocab_size == len(TARGET.tokens)
    assert alone.generate("ab", **TEXTS).tokens == alone.generate("ab", **TEXTS).tokens


def test_the_two_of_a_pair_must_have_one_vocabulary(kinds: Kinds) -> None:
    with pytest.raises(VocabularyMismatchError, match=r"the draft .* and the reference"):
        Decoder(kinds.target.path, kinds.target.path, kinds.small.path, **EXACT)


def test_long_texts_fit_that_take_more_tokens_there(kinds: Kinds) -> None:
    options: Any = {**EXACT, "n_ctx": 64}
    with Decoder(kinds.target.path, **kinds.pair, **options) as opened:
        assert opened.context_size == 64
        ends = dict.fromkeys(opened.end_of_generation, -np.inf)
        found = opened.generate("ab cd", max_tokens=-1, logit_bias=ends, seed=1)
        assert found.finish_reason == "length"
        assert len(found.tokens) > 50


def test_a_text_that_does_not_fit_ends_its_own_request(kinds: Kinds, files: Files) -> None:
    """A target of long tokens, all of which are cut into single letters."""
    letters = TinyVocab(
        model=OTHER.model, tokens=OTHER.tokens[:265], types=OTHER.types[:265], bos=1, eos=2
    )
    small = [files.model(vocab=letters, noise=0.3, noise_seed=i).path for i in (1, 2)]
    with Decoder(kinds.target.path, *small, **{**EXACT, "n_ctx": 64}) as opened:
        long = TARGET.tokens.index("abcd")
        bias = {long: 80.0}
        full = opened.submit([long], max_tokens=-1, logit_bias=bias, seed=1)
        short = opened.submit([long], max_tokens=4, logit_bias=bias, seed=1)
        last = {}
        while opened.has_work:
            last |= {chunk.id: chunk for chunk in opened.step() if chunk.is_last}
        assert "load it with a larger n_ctx" in (last[full].error or "")
        assert last[short].completion is not None


def wordy() -> TinyVocab:
    """Letters and common pairs of them, as long as they are English."""
    vocab = bpe_vocab()
    pairs = [
        *("t h", "i n", "o u", "e r", "o n", "r e", "a n", "s t", "Ġ th", "e s", "a t", "i s"),
        *("o r", "a r", "l e", "i t", "e n", "Ġ w", "Ġ p", "Ġ m", "Ġ o", "Ġ i", "Ġ s", "v e"),
        *("in g", "th e", "m e", "u r", "d e", "c t", "l l", "Ġ f", "a l"),
    ]
    longer = vocab.extended((pair.replace(" ", "") for pair in pairs), TokenType.NORMAL)
    return replace(longer, merges=(*vocab.merges, *pairs))


def test_few_shared_tokens_are_warned_of(kinds: Kinds, files: Files) -> None:
    coarse = [files.model(vocab=wordy(), noise=noise) for noise in (0.0, 0.3)]
    with pytest.warns(VocabularyWarning, match=r"the draft has only \d+% in its vocabulary"):
        Decoder(coarse[0].path, **kinds.pair, **EXACT).close()
    with warnings.catch_warnings():
        warnings.simplefilter("error", VocabularyWarning)
        Decoder(kinds.target.path, **kinds.pair, **EXACT).close()
        Decoder(coarse[0].path, coarse[1].path, coarse[0].path, **EXACT).close()
