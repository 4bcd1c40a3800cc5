"""OpenAI's Python package, plain completions."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from openai import OpenAI

from .serving import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = f"openai {version('openai')} (Python)"
ASKED: Any = {"model": NAME, "prompt": "Once upon", "max_tokens": 12, "seed": 7}


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def test_a_text_goes_on_and_its_stream_is_the_same(client: OpenAI) -> None:
    whole = client.completions.create(**ASKED)
    pieces = list(client.completions.create(**ASKED, stream=True))
    assert whole.object == "text_completion"
    assert "".join(chunk.choices[0].text for chunk in pieces) == whole.choices[0].text
    assert pieces[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_several_prompts_are_answered_in_their_order(client: OpenAI) -> None:
    prompts = ["Once upon", "a time", "there was"]
    choices = client.completions.create(**ASKED | {"prompt": prompts}, n=2, echo=True).choices
    assert [choice.index for choice in choices] == list(range(6))
    assert all(choices[i].text.startswith(prompts[i // 2]) for i in range(6))


def test_an_echo_has_the_prompts_log_probabilities(client: OpenAI) -> None:
    asked = ASKED | {"max_tokens": 0, "echo": True, "logprobs": 2, "temperature": 0}
    told = client.completions.create(**asked).choices[0]
    assert told.text == ASKED["prompt"]
    assert told.logprobs is not None
    assert "".join(told.logprobs.tokens or ()) == ASKED["prompt"]
    first, *others = told.logprobs.token_logprobs or ()
    assert first is None  # nothing stands before it
    assert others
    assert all(logprob is not None and logprob < 0 for logprob in others)


def test_best_of_and_stops(client: OpenAI) -> None:
    best = client.completions.create(**ASKED, best_of=4, n=2)
    assert len(best.choices) == 2
    assert best.usage is not None
    text = client.completions.create(**ASKED).choices[0].text
    stop = next(letter for letter in text[1:] if letter.isascii() and letter.isprintable())
    stopped = client.completions.create(**ASKED, stop=[stop]).choices[0]
    assert stopped.text == text[: text.index(stop)]
    assert stopped.finish_reason == "stop"
