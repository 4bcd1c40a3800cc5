"""Rewards say what they say they say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from gguf import TokenType

from rewardshift import (
    ChatTemplateError,
    ContextOverflowError,
    Decoder,
    ModelLoadError,
    Shift,
    TableModel,
)
from rewardshift.rewards import (
    AfinnReward,
    CachedReward,
    GGUFRewardModel,
    ImplicitReward,
    JudgeReward,
    VaderReward,
    scores,
)
from tests.support import precision
from tests.support.engine import EXACT
from tests.support.numpy_forward import class_probabilities
from tests.support.tiny_gguf import CHATML_TEMPLATE, bpe_vocab

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.conftest import Files

GOOD, PLAIN, BAD = (
    "What a wonderful, happy day!",
    "A table has four legs.",
    "I hate this awful day.",
)


pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("reward", [VaderReward, AfinnReward])
def test_lexica_tell_good_from_bad(reward: type[VaderReward] | type[AfinnReward]) -> None:
    good, plain, bad = reward()([("", GOOD), ("How awful!", PLAIN), ("", BAD)])
    assert good > 0.3
    assert plain == 0  # prompts do not count
    assert bad < -0.3


def test_vader_is_bounded_and_afinn_is_a_mean() -> None:
    assert VaderReward()([("", GOOD * 20)])[0] <= 1
    once, often = AfinnReward()([("", "happy day"), ("", "happy day " * 9)])
    assert once == pytest.approx(often) == pytest.approx(1.5)
    assert AfinnReward()([("", "")]) == [0]


def test_a_reward_that_gives_no_number_is_named_with_its_text() -> None:
    with pytest.raises(ValueError, match="nan for 'worse'"):
        scores(lambda _: [1.0, math.nan], [("a", "b"), ("a", "worse")])
    with pytest.raises(ValueError, match="1 scores for 2"):
        scores(lambda _: [1.0], [("a", "b"), ("a", "c")])


def test_a_judge_s_reward_is_its_log_odds(files: Files) -> None:
    model = files.model(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE, seed=1, scale=4.0)
    path, close = model.path, precision.of_reward(model.spec, len("Yes"))  # a token each letter
    question = "{prompt} {response} good?"
    judge = JudgeReward(path, question, **EXACT)
    found = judge([("a {response}", "b"), ("c", "d d")])
    with Decoder(path, **EXACT) as decoder:
        for reward, text in zip(found, ("a {response} b good?", "c d d good?"), strict=True):
            asked = decoder.chat_prompts([{"role": "user", "content": text}])[0]
            yes, no = (decoder.score(asked, word).target_logprob for word in ("Yes", "No"))
            assert reward == pytest.approx(yes - no, abs=close)
    with pytest.raises(ValueError, match=r"no \{response\}"):
        JudgeReward(path, "good?")


def test_a_judge_reads_many_exchanges_in_one_batch_where_yes_and_no_are_tokens(
    files: Files,
) -> None:
    vocab = bpe_vocab().extended(("Yes", "No"), TokenType.USER_DEFINED)
    model = files.model(vocab=vocab, chat_template=CHATML_TEMPLATE, seed=2, scale=4.0)
    path, close = model.path, precision.of_reward(model.spec, 1)
    judge = JudgeReward(path, "Is this good? {response}", **EXACT)
    found = judge([("", "ab"), ("", "cd e"), ("", "ab"), ("", "")])
    with Decoder(path, **EXACT) as decoder:
        assert len(decoder.tokenize("Yes", add_special=False)) == 1
        for reward, text in zip(found, ("ab", "cd e", "ab", ""), strict=True):
            message = {"role": "user", "content": f"Is this good? {text}"}
            asked = decoder.chat_prompts([message])[0]
            yes, no = (decoder.score(asked, word).target_logprob for word in ("Yes", "No"))
            assert reward == pytest.approx(yes - no, abs=close)
    assert len({round(reward, 3) for reward in found}) == 3


# --- the implicit reward --------------------------------------------------------------------------


def test_the_implicit_reward_is_the_sum_of_log_ratios(files: Files) -> None:
    spec = {"vocab": bpe_vocab(), "chat_template": CHATML_TEMPLATE, "seed": 1}
    trio = files.trio(**spec)
    close = precision.of_reward(trio[0].spec, 1)
    with Decoder(*(model.path for model in trio), **EXACT) as decoder:
        reward = ImplicitReward(decoder)
        before = decoder.work["target"]
        found = reward([("ab", "cd"), ("ab", ""), ("x", "cd ab")])
        assert decoder.work["target"] == before
        for value, (prompt, response) in zip(
            found, [("ab", "cd"), ("ab", ""), ("x", "cd ab")], strict=True
        ):
            asked = decoder.chat_prompts([{"role": "user", "content": prompt}])[0]
            score = decoder.score(asked, response)
            assert value == pytest.approx(
                score.implicit_reward or 0.0, abs=close * len(score.tokens)
            )
        completion = decoder.generate("ab", max_tokens=9, seed=3)
        each = reward.per_token("ab", completion.tokens)
        expected = [step.implicit_reward for step in completion.steps]
        np.testing.assert_allclose(each, expected, rtol=0, atol=close)
        shifted = reward.per_token("ab", "cd", draft_prompt="cd")
        score = decoder.score("ab", "cd", draft_prompt="cd")
        np.testing.assert_allclose(
            shifted, score.draft_logprobs - score.reference_logprobs, rtol=0, atol=close
        )


def test_the_implicit_reward_may_be_that_of_a_prompt(files: Files) -> None:
    model = files.model(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE, seed=1)
    close = precision.of_reward(model.spec, len("cd"))
    with Decoder(*[model.path] * 3, **EXACT) as decoder:
        assert ImplicitReward(decoder)([("ab", "cd")]) == pytest.approx([0.0], abs=close)
        found = ImplicitReward(decoder, draft_system="Be kind.")([("ab", "cd")])[0]
        shown, draft = decoder.chat_prompts(
            [{"role": "user", "content": "ab"}], draft_system="Be kind."
        )
        expected = decoder.score(shown, "cd", draft_prompt=draft).implicit_reward
        assert found == pytest.approx(expected, abs=close)
        assert abs(found) > 0.01


def test_the_implicit_reward_reads_prompts_as_they_are_without_a_template(files: Files) -> None:
    trio = files.trio(vocab=bpe_vocab(), seed=1)
    close = precision.of_reward(trio[0].spec, len("cd"))
    with Decoder(*(model.path for model in trio), **EXACT) as decoder:
        found = ImplicitReward(decoder)([("ab", "cd")])[0]
        assert found == pytest.approx(decoder.score("ab", "cd").implicit_reward, abs=close)
        with pytest.raises(ChatTemplateError):
            ImplicitReward(decoder, draft_system="Be kind.")([("ab", "cd")])


def test_the_implicit_reward_needs_a_pair() -> None:
    table = TableModel(np.zeros((1, 3), dtype=np.float32))
    with (
        Decoder.from_models(table) as decoder,
        pytest.raises(ValueError, match="there is no 'draft' here, only target"),
    ):
        ImplicitReward(decoder)


# --- a reward that remembers ----------------------------------------------------------------------


class Counting:
    """The length of a response; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, exchanges: Sequence[tuple[str, str]]) -> list[float]:
        self.asked += exchanges
        return [float(len(response)) for _, response in exchanges]


def test_a_cached_reward_asks_for_each_exchange_once() -> None:
    counting = Counting()
    cached = CachedReward(counting)
    assert cached([("a", "bb"), ("a", "c"), ("a", "bb")]) == [2, 1, 2]
    assert cached([("a", "c"), ("ab", "b"), ("a", "bb")]) == [1, 1, 2]
    assert counting.asked == [("a", "bb"), ("a", "c"), ("ab", "b")]
    assert cached([]) == []
    assert len(cached) == 3


def test_a_cached_reward_remembers_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    first = CachedReward(Counting(), path)
    assert first([("a", "bé\n"), ("", "")]) == [3, 0]
    counting = Counting()
    again = CachedReward(counting, path)
    assert len(again) == 2
    assert again([("", ""), ("a", "bé\n"), ("new", "one")]) == [0, 3, 3]
    assert counting.asked == [("new", "one")]
    assert len(path.read_text().splitlines()) == 3


def test_a_cached_reward_remembers_no_failure(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    broken = CachedReward(lambda exchanges: [math.nan] * len(exchanges), path)
    with pytest.raises(ValueError, match="nan for 'b', a response to 'a'"):
        broken([("a", "b")])
    assert len(broken) == 0
    assert not path.exists()


@pytest.mark.parametrize(
    "line", ["{", "[1]", '{"exchange": "x"}', '{"exchange": "x", "score": NaN}']
)
def test_a_damaged_memory_is_named_with_its_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "scores.jsonl"
    path.write_text(f'{{"exchange": "x", "score": 1.0}}\n{line}\n')
    with pytest.raises(ValueError, match=r"scores\.jsonl:2: "):
        CachedReward(Counting(), path)


# --- a reward model in a file ---------------------------------------------------------------------

HEAD = {"arch": "qwen3", "vocab": bpe_vocab(), "seed": 5, "classes": ("no", "yes", "maybe")}


def test_a_reward_model_is_its_classification_head(files: Files) -> None:
    model = files.model(**HEAD, chat_template=CHATML_TEMPLATE)
    close = precision.of_logits(model.spec)  # a probability is off by less than its logits
    exchanges = [("ab", "cd" * n) for n in (0, 1, 5, 90)] + [("how", "do you do"), ("ab", "cd")]
    reward = GGUFRewardModel(model.path, label="yes", **{**EXACT, "n_ctx": 512})
    assert reward.labels == ("no", "yes", "maybe")
    found = reward(exchanges)
    with Decoder(model.path, **EXACT) as decoder:
        for value, (prompt, response) in zip(found, exchanges, strict=True):
            shown = (
                f"<|im_start|>user\n{prompt}<|im_end|>\n"
                f"<|im_start|>assistant\n{response}<|im_end|>\n"
            )
            tokens = decoder.tokenize(shown, add_special=False)
            expected = class_probabilities(model, tokens)
            assert value == pytest.approx(expected[1], abs=close)
    assert found[1] == pytest.approx(found[-1], abs=close)
    assert len({round(value, 4) for value in found}) == 5
    assert reward([]) == []
    assert reward(exchanges[::-1]) == pytest.approx(found[::-1], abs=close)


def test_a_reward_model_reads_what_its_form_says(files: Files) -> None:
    model = files.model(**HEAD)
    reward = GGUFRewardModel(model.path, form="{prompt}: {response}", label=2, **EXACT)
    with Decoder(model.path, **EXACT) as decoder:
        expected = class_probabilities(model, decoder.tokenize("a {response}: b"))[2]
    close = precision.of_logits(model.spec)
    assert reward([("a {response}", "b")]) == pytest.approx([expected], abs=close)


def test_more_exchanges_than_fit_at_once_are_evaluated_in_turns(files: Files) -> None:
    model = files.model(**HEAD)
    close = precision.of_logits(model.spec)
    options = {**EXACT, "n_ctx": 256, "n_seq_max": 3}
    reward = GGUFRewardModel(model.path, form="{response}", **options)
    texts = [chr(97 + i) * (3 + 17 * i % 60) for i in range(20)]
    found = reward([("", text) for text in texts])
    alone = [reward([("", text)])[0] for text in texts]
    assert found == pytest.approx(alone, abs=close)
    with pytest.raises(ContextOverflowError, match=r"a text to classify has 300 tokens; .* 256"):
        reward([("", "a"), ("", "e" * 300)])
    assert reward([("", texts[0])]) == pytest.approx(found[:1], abs=close)


def test_a_reward_model_without_a_head_or_with_a_useless_one_is_refused(files: Files) -> None:
    with pytest.raises(ModelLoadError, match="has no classification head"):
        GGUFRewardModel(files.model(vocab=bpe_vocab()).path, form="{response}", **EXACT)
    lone = files.model(**{**HEAD, "classes": ("good",)})
    with pytest.raises(ModelLoadError, match=r"a softmax .* would say 1 of every text"):
        GGUFRewardModel(lone.path, form="{response}", **EXACT)


def test_what_a_reward_model_cannot_be_asked_is_named(files: Files) -> None:
    path = files.model(**HEAD).path
    with pytest.raises(ChatTemplateError, match=r"has no chat template; say what .* form="):
        GGUFRewardModel(path, **EXACT)
    with pytest.raises(ValueError, match=r"the form has no \{response\} in it: '\{prompt\}'"):
        GGUFRewardModel(path, form="{prompt}", **EXACT)
    for wrong in ("good", 3, -1):
        with pytest.raises(ValueError, match=f"3 outputs, named no, yes, maybe, not {wrong!r}"):
            GGUFRewardModel(path, form="{response}", label=wrong, **EXACT)


def test_one_of_several_shifts_is_named(files: Files) -> None:
    target, draft, reference = files.trio(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE)
    ours, turned = Shift(draft.path, reference.path), Shift(reference.path, draft.path)
    with Decoder(target.path, draft.path, reference.path, **EXACT) as alone:
        expected = ImplicitReward(alone)([("ab", "cd")])
    with Decoder(target.path, shifts={"ours": ours, "turned": turned}, **EXACT) as decoder:
        assert ImplicitReward(decoder, shift="ours")([("ab", "cd")]) == pytest.approx(expected)
        (opposite,) = ImplicitReward(decoder, shift="turned")([("ab", "cd")])
        assert opposite == pytest.approx(-expected[0])
        with pytest.raises(ValueError, match="no shift 'x' here, only ours, turned"):
            ImplicitReward(decoder, shift="x")
        with pytest.raises(ValueError, match="there is no 'draft' here, only target, ours shift"):
            ImplicitReward(decoder)
