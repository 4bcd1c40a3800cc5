"""Chat completions over HTTP: the same texts and numbers as the decoder gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.served import decoder_of, events_of, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

    from rewardshift import Completion
    from tests.conftest import Files

MESSAGES = [{"role": "user", "content": "ab cd"}]
ASKED: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 24, "seed": 7}
URL = "/v1/chat/completions"


@pytest.fixture(scope="module")
def client(files: Files) -> Iterator[TestClient]:
    with serving(files) as opened:
        yield opened


@pytest.fixture(scope="module")
def alone(files: Files) -> Completion:
    """What the decoder itself answers."""
    with decoder_of(files) as decoder:
        return decoder.chat(MESSAGES, max_tokens=24, seed=7, top_logprobs=3)


def test_an_answer_is_the_decoders(client: TestClient, alone: Completion) -> None:
    answer = client.post(URL, json=ASKED).json()
    choice = answer["choices"][0]
    assert answer["object"] == "chat.completion"
    assert answer["system_fingerprint"].startswith("build-")
    assert choice["message"] == {"role": "assistant", "content": alone.text, "refusal": None}
    assert choice["finish_reason"] == alone.finish_reason
    assert answer["usage"] == alone.usage
    assert answer["rewardshift"]["seed"] == 7
    assert answer["rewardshift"]["accepted"] == alone.statistics.accepted


def test_a_streamed_answer_is_the_same(client: TestClient, alone: Completion) -> None:
    events = events_of(
        client.post(URL, json={**ASKED, "stream": True, "stream_options": {"include_usage": True}})
    )
    deltas = [event["choices"][0]["delta"] for event in events[:-1]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert "".join(delta.get("content", "") for delta in deltas) == alone.text
    last = events[-2]["choices"][0]
    assert last["finish_reason"] == alone.finish_reason
    assert last["rewardshift"]["drafted"] == alone.statistics.drafted
    assert events[-1]["usage"] == alone.usage
    assert events[-1]["choices"] == []
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len({event["id"] for event in events}) == 1


def test_log_probabilities_are_exact_for_drafted_tokens_too(
    client: TestClient, alone: Completion
) -> None:
    asked = {**ASKED, "logprobs": True, "top_logprobs": 3, "return_token_info": True}
    answer = client.post(URL, json=asked).json()["choices"][0]
    told = answer["logprobs"]["content"]
    assert any(step.origin == "draft" for step in alone.steps)
    assert [entry["logprob"] for entry in told] == [s.logprob for s in alone.steps[: len(told)]]
    assert [[t["logprob"] for t in entry["top_logprobs"]] for entry in told] == [
        list(s.top_logprobs.values()) for s in alone.steps[: len(told)]
    ]
    raw = b"".join(bytes(entry["bytes"]) for entry in told)
    assert raw.decode(errors="replace") == alone.text
    tokens = answer["rewardshift"]["tokens"]
    assert [token["id"] for token in tokens] == list(alone.tokens)
    assert [token["origin"] for token in tokens] == [step.origin for step in alone.steps]
    assert [token["shifts"] for token in tokens] == [step.shifts for step in alone.steps]


def test_streamed_tokens_come_with_their_text(client: TestClient, alone: Completion) -> None:
    asked = {**ASKED, "stream": True, "logprobs": True, "return_token_info": True}
    ids: list[int] = []
    for event in events_of(client.post(URL, json=asked)):
        choice = event["choices"][0]
        ids += [token["id"] for token in choice.get("rewardshift", {}).get("tokens", [])]
        if choice["logprobs"]:
            raw = b"".join(bytes(entry["bytes"]) for entry in choice["logprobs"]["content"])
            assert raw.decode(errors="replace") == choice["delta"]["content"]
    assert ids == list(alone.tokens)


def test_choices_are_the_substreams_of_one_seed(client: TestClient, files: Files) -> None:
    with decoder_of(files) as decoder:
        prompt, _ = decoder.chat_prompts(MESSAGES)
        texts = [
            decoder.generate(prompt, max_tokens=24, seed=7, substream=i).text for i in range(3)
        ]
    whole = client.post(URL, json={**ASKED, "n": 3}).json()
    assert [choice["message"]["content"] for choice in whole["choices"]] == texts
    assert len(set(texts)) == 3
    streamed = [""] * 3
    for event in events_of(client.post(URL, json={**ASKED, "n": 3, "stream": True})):
        choice = event["choices"][0]
        streamed[choice["index"]] += choice["delta"].get("content", "")
    assert streamed == texts


def test_an_answer_goes_on_from_given_tokens(client: TestClient, alone: Completion) -> None:
    asked = {**ASKED, "temperature": 0}
    whole = client.post(URL, json={**asked, "return_token_info": True}).json()
    ids = [token["id"] for token in whole["rewardshift"]["tokens"]]
    assert len(ids) > 8
    rest = client.post(
        URL,
        json={**asked, "continue_from": ids[:8], "max_tokens": 16, "return_token_info": True},
    ).json()
    assert [token["id"] for token in rest["rewardshift"]["tokens"]] == ids[8:]
    assert whole["choices"][0]["message"]["content"].endswith(
        rest["choices"][0]["message"]["content"]
    )
    assert rest["usage"]["prompt_tokens"] == alone.prompt_tokens + 8


def test_strength_zero_is_the_plain_target(client: TestClient, files: Files) -> None:
    with decoder_of(files) as decoder:
        plain = decoder.chat(MESSAGES, max_tokens=24, seed=7, strength=0).text
    for strength in (0, {"draft": 0}):
        answer = client.post(URL, json={**ASKED, "strength": strength}).json()
        assert answer["choices"][0]["message"]["content"] == plain
        assert answer["rewardshift"]["z"] is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"messages": 3}, "messages"),
        ({"messages": []}, "empty"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": True}, "max_tokens"),
        ({"n": 0}, "n must be"),
        ({"n": 10**9}, "n must be"),
        ({"top_logprobs": -1}, "top_logprobs"),
        ({"strength": {"nobody": 1}}, "nobody"),
        ({"seed": 2**70}, "seed"),
        ({"stop": ["a"] * 100}, "stop"),
        ({"stop": ""}, "stop"),
        ({"chat_template": "{{ 1 }}"}, "chat template"),
        ({"continue_from": [10**6]}, "vocabulary"),
        ({"continue_from": [-1]}, "vocabulary"),
        ({"messages": [{"role": "user", "content": "a " * 600}]}, "context"),
    ],
)
def test_what_is_wrong_is_a_400_that_says_so(
    client: TestClient, fields: dict[str, Any], said: str
) -> None:
    answer = client.post(URL, json={**ASKED, **fields})
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert said in error["message"]
