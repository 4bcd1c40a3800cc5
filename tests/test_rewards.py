"""Rewards say what they say they say."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from rewardshift import Decoder
from rewardshift.rewards import AfinnReward, JudgeReward, VaderReward, scores
from tests.support.tiny_gguf import CHATML_TEMPLATE, bpe_vocab

if TYPE_CHECKING:
    from tests.conftest import Files

GOOD, PLAIN, BAD = (
    "What a wonderful, happy day!",
    "A table has four legs.",
    "I hate this awful day.",
)


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
    path = files.model(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE, seed=1, scale=4.0).path
    question = "{prompt} {response} good?"
    judge = JudgeReward(path, question, n_ctx=256)
    found = judge([("a {response}", "b"), ("c", "d d")])
    with Decoder(path, n_ctx=256) as decoder:
        for reward, text in zip(found, ("a {response} b good?", "c d d good?"), strict=True):
            asked = decoder.chat_prompts([{"role": "user", "content": text}])[0]
            yes, no = (decoder.score(asked, word).target_logprob for word in ("Yes", "No"))
            assert reward == pytest.approx(yes - no, abs=1e-3)
    with pytest.raises(ValueError, match=r"no \{response\}"):
        JudgeReward(path, "good?")
