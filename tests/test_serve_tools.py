"""Tools over HTTP: what is offered reaches the template, and what is called comes back as calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from rewardshift.serve.tools.formats import HERMES, LLAMA, MISTRAL, MISTRAL_NAMED
from tests.support.served import events_of, serving
from tests.support.tool_models import FORMATS, SCHEMAS, TOOLS, serving_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

    from rewardshift.serve.tools import ToolFormat
    from tests.conftest import Files

URL = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "ab"}]
ASKED: dict[str, Any] = {"messages": MESSAGES, "tools": TOOLS, "max_tokens": 400, "seed": 3}
ARGUMENTS = '{"city": "Graz ☃"}'


@pytest.fixture(scope="module", params=FORMATS, ids=lambda form: form.name)
def served(files: Files, request: pytest.FixtureRequest) -> Iterator[tuple[TestClient, ToolFormat]]:
    with serving_tools(files, request.param) as client:
        yield client, request.param


@pytest.fixture(scope="module")
def client(files: Files) -> Iterator[TestClient]:
    with serving_tools(files, HERMES) as opened:
        yield opened


def written(form: ToolFormat, arguments: str = ARGUMENTS) -> str:
    """A response that makes one call."""
    call = form.opening.replace("NAME", "weather") + arguments + form.closing
    return form.before + call + form.after


def assembled(events: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """The message that a stream's deltas make up, as OpenAI's clients add them, and how it ends."""
    message: dict[str, Any] = {"content": "", "tool_calls": []}
    finish = ""
    for event in events:
        (choice,) = event["choices"]
        delta = choice["delta"]
        message["content"] += delta.get("content") or ""
        for call in delta.get("tool_calls", []):
            if call["index"] == len(message["tool_calls"]):
                message["tool_calls"].append({"id": call["id"], "type": call["type"],
                                              "function": dict(call["function"])})  # fmt: skip
            else:
                own = message["tool_calls"][call["index"]]["function"]
                own["arguments"] += call["function"]["arguments"]
        finish = choice["finish_reason"] or finish
    return message, finish


def test_a_call_that_the_model_writes_is_told_as_one(served: tuple[TestClient, ToolFormat]) -> None:
    client, form = served
    asked = {**ASKED, "choice": [written(form)]}
    choice = client.post(URL, json=asked).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["function"] == {"name": "weather", "arguments": ARGUMENTS}
    events = events_of(client.post(URL, json={**asked, "stream": True}))
    assert [event["choices"][0]["delta"] for event in events].count({"content": ""}) == 0
    assert not any(event["choices"][0]["delta"] == {} for event in events[:-1])
    message, finish = assembled(events)
    assert finish == "tool_calls"
    assert message["content"] == ""
    assert [made["function"] for made in message["tool_calls"]] == [call["function"]]


def test_a_must_is_kept_by_construction(served: tuple[TestClient, ToolFormat]) -> None:
    client, _ = served
    for choice in ("required", {"type": "function", "function": {"name": "weather"}}):
        asked = {**ASKED, "tool_choice": choice, "parallel_tool_calls": False, "n": 4}
        for told in client.post(URL, json=asked).json()["choices"]:
            assert told["message"]["content"] is None
            (call,) = told["message"]["tool_calls"]
            if told["finish_reason"] == "tool_calls":
                arguments = json.loads(call["function"]["arguments"])
                jsonschema.validate(arguments, SCHEMAS[call["function"]["name"]])


def test_streamed_calls_are_those_of_the_whole(served: tuple[TestClient, ToolFormat]) -> None:
    client, _ = served
    asked = {**ASKED, "tool_choice": "required"}
    whole = client.post(URL, json=asked).json()["choices"][0]
    message, finish = assembled(events_of(client.post(URL, json={**asked, "stream": True})))
    assert finish == whole["finish_reason"]
    assert [call["function"] for call in message["tool_calls"]] == [
        call["function"] for call in whole["message"]["tool_calls"]
    ]
    assert len({call["id"] for call in message["tool_calls"]}) == len(message["tool_calls"])


def test_a_conversation_goes_on_with_what_a_tool_said(
    served: tuple[TestClient, ToolFormat],
) -> None:
    """The template gets arguments as an object: the prompt has the call as the model wrote it."""
    client, form = served
    call = {"id": "abcdefghi", "type": "function"}
    talk = [
        *MESSAGES,
        {"role": "assistant", "content": None,
         "tool_calls": [{**call, "function": {"name": "weather", "arguments": ARGUMENTS}}]},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "-3 °C"},
    ]  # fmt: skip
    answer = client.post("/apply-template", json={"messages": talk, "tools": TOOLS})
    assert answer.status_code == 200, answer.text
    prompt = answer.json()["prompt"]
    assert written(form) in prompt
    assert "<|im_start|>tool\n-3 °C" in prompt
    assert prompt.startswith("weather weather_of now ")
    answer = client.post(URL, json={**ASKED, "messages": talk, "max_tokens": 4})
    assert answer.status_code == 200, answer.text


def test_none_offers_nothing_and_takes_nothing_for_a_call(client: TestClient) -> None:
    asked = {**ASKED, "tool_choice": "none", "choice": [written(HERMES)]}
    answer = client.post(URL, json=asked).json()
    choice = answer["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"] == written(HERMES)
    plain = client.post(URL, json={**asked, "tools": None, "tool_choice": None}).json()
    assert plain["usage"]["prompt_tokens"] == answer["usage"]["prompt_tokens"]


def test_a_call_that_is_cut_is_told_as_far_as_it_goes(client: TestClient) -> None:
    asked = {**ASKED, "choice": [written(HERMES)], "max_tokens": len(written(HERMES)) - 30}
    choice = client.post(URL, json=asked).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    (call,) = choice["message"]["tool_calls"]
    begun = call["function"]["arguments"]
    assert begun
    assert ARGUMENTS.startswith(begun)
    assert begun != ARGUMENTS


@pytest.mark.parametrize("form", [MISTRAL, MISTRAL_NAMED, HERMES, LLAMA], ids=lambda f: f.name)
def test_every_token_is_told_also_those_that_are_marks(files: Files, form: ToolFormat) -> None:
    with serving_tools(files, form) as client:
        asked = {**ASKED, "choice": [written(form)], "logprobs": True, "return_token_info": True}
        whole = client.post(URL, json=asked).json()["choices"][0]
        raw = b"".join(bytes(entry["bytes"]) for entry in whole["logprobs"]["content"])
        assert raw.decode() == written(form)
        ids = [token["id"] for token in whole["rewardshift"]["tokens"]]
        streamed = [
            token["id"]
            for event in events_of(client.post(URL, json={**asked, "stream": True}))
            for token in event["choices"][0].get("rewardshift", {}).get("tokens", [])
        ]
        assert streamed == ids


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [], "tool_choice": "required"}, "nothing to call"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "weather_of"),
        ({"tool_choice": "required", "response_format": {"type": "json_object"}}, "other form"),
        ({"tool_choice": "required", "tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"properties": 3}}}]},
         "properties"),
    ],
)  # fmt: skip
def test_what_is_no_offer_is_a_400_that_says_so(
    client: TestClient, fields: dict[str, Any], said: str
) -> None:
    answer = client.post(URL, json={**ASKED, **fields})
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]["message"]


def test_a_model_without_a_known_format_refuses_a_must_and_ignores_an_offer(files: Files) -> None:
    with serving(files) as client:
        asked = {**ASKED, "max_tokens": 4}
        assert client.post(URL, json=asked).status_code == 200
        answer = client.post(URL, json={**asked, "tool_choice": "required"})
        assert answer.status_code == 400
        assert "no format for calls" in answer.json()["error"]["message"]
