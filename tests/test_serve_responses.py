"""OpenAI's responses: the events make up the object, which has the decoder's answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from rewardshift import Decoder
from rewardshift.serve.tools.formats import HERMES
from tests.support.engine import EXACT
from tests.support.served import VOCAB, decoder_of, serving, serving_of
from tests.support.tiny_gguf import CHATML_TEMPLATE
from tests.support.tool_models import SCHEMAS, TOOLS, serving_tools

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpx import Response
    from starlette.testclient import TestClient

    from rewardshift import Completion
    from tests.conftest import Files

URL = "/v1/responses"
ASKED: dict[str, Any] = {"input": "ab cd", "max_output_tokens": 24, "seed": 7}
FLAT = [{"type": "function", **tool["function"]} for tool in TOOLS]


@pytest.fixture(scope="module")
def client(files: Files) -> Iterator[TestClient]:
    with serving(files) as opened:
        yield opened


@pytest.fixture(scope="module")
def caller(files: Files) -> Iterator[TestClient]:
    with serving_tools(files, HERMES) as opened:
        yield opened


@pytest.fixture(scope="module")
def alone(files: Files) -> Completion:
    """What the decoder itself answers."""
    with decoder_of(files) as decoder:
        talk = [{"role": "user", "content": "ab cd"}]
        return decoder.chat(talk, max_tokens=24, seed=7, top_logprobs=2)


def post(client: TestClient, **asked: Any) -> Any:
    answer = client.post(URL, json={**ASKED, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()


def events_of(answer: Response) -> list[dict[str, Any]]:
    """The data of a stream, each under the name of its type, in its order."""
    assert answer.status_code == 200, answer.text
    found = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        found.append(event)
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def without_ids(value: Any) -> Any:
    """A response without what differs between two of them."""
    if isinstance(value, list):
        return [without_ids(item) for item in value]
    if isinstance(value, dict):
        differing = ("id", "call_id", "created_at", "seconds", "tokens_per_second")
        return {k: without_ids(v) for k, v in value.items() if k not in differing}
    return value


def rebuilt(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The output that a client makes of the deltas alone."""
    output: list[dict[str, Any]] = []
    for event in events:
        kind = event["type"].removeprefix("response.")
        if kind == "output_item.added":
            assert event["output_index"] == len(output)
            output.append(json.loads(json.dumps(event["item"])))
        elif kind == "content_part.added":
            output[event["output_index"]]["content"].append(dict(event["part"]))
        elif kind == "output_text.delta":
            part = output[event["output_index"]]["content"][event["content_index"]]
            part["text"] += event["delta"]
            part["logprobs"] = part["logprobs"] + event["logprobs"]
        elif kind == "function_call_arguments.delta":
            output[event["output_index"]]["arguments"] += event["delta"]
        elif kind == "output_item.done":
            output[event["output_index"]]["status"] = event["item"]["status"]
            assert output[event["output_index"]] == event["item"]
    return output


def test_a_response_is_the_decoders_answer(client: TestClient, alone: Completion) -> None:
    told = post(client, temperature=0.8, metadata={"a": "b"})
    assert alone.finish_reason == "stop"
    assert (told["object"], told["status"], told["error"]) == ("response", "completed", None)
    assert told["incomplete_details"] is None
    (message,) = told["output"]
    assert (message["type"], message["role"]) == ("message", "assistant")
    (part,) = message["content"]
    assert (part["type"], part["text"], part["logprobs"]) == ("output_text", alone.text, [])
    assert told["usage"]["input_tokens"] == alone.prompt_tokens
    assert told["usage"]["output_tokens"] == len(alone.steps)
    assert told["metadata"] == {"a": "b"}
    assert told["rewardshift"]["accepted"] == alone.statistics.accepted


def test_an_answer_that_is_cut_is_incomplete(client: TestClient) -> None:
    told = post(client, max_output_tokens=3)
    assert told["status"] == told["output"][0]["status"] == "incomplete"
    assert told["incomplete_details"] == {"reason": "max_output_tokens"}
    events = events_of(client.post(URL, json={**ASKED, "max_output_tokens": 3, "stream": True}))
    assert events[-1]["type"] == "response.incomplete"
    assert without_ids(rebuilt(events)) == without_ids(told["output"])


def test_events_make_up_the_response(client: TestClient, alone: Completion) -> None:
    events = events_of(client.post(URL, json={**ASKED, "stream": True}))
    kinds = [event["type"].removeprefix("response.") for event in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    assert kinds[-4:] == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert events[-4]["text"] == alone.text
    assert rebuilt(events) == events[-1]["response"]["output"]
    assert without_ids(events[-1]["response"]) == without_ids(post(client))


def test_an_answer_that_ends_is_completed_though_it_is_empty(
    client: TestClient, files: Files
) -> None:
    with decoder_of(files) as decoder:
        bias = {str(decoder.end_of_generation[0]): 1e4}
    told = post(client, logit_bias=bias)
    assert (told["status"], told["incomplete_details"]) == ("completed", None)
    assert told["output"][0]["content"][0]["text"] == ""
    events = events_of(client.post(URL, json={**ASKED, "logit_bias": bias, "stream": True}))
    assert events[-1]["type"] == "response.completed"
    assert rebuilt(events) == events[-1]["response"]["output"]


def test_log_probabilities_come_where_they_are_included(
    client: TestClient, alone: Completion
) -> None:
    asked = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    whole = post(client, **asked)["output"][0]["content"][0]
    told = [entry["logprob"] for entry in whole["logprobs"]]
    assert told == [step.logprob for step in alone.steps[: len(told)]]
    assert b"".join(bytes(e["bytes"]) for e in whole["logprobs"]).decode("utf-8", "replace")
    events = events_of(client.post(URL, json={**ASKED, **asked, "stream": True}))
    streamed = [e for event in events if "delta" in event for e in event["logprobs"]]
    assert streamed == whole["logprobs"]


def test_instructions_and_items_are_a_conversation(client: TestClient, files: Files) -> None:
    items = [
        {"role": "developer", "content": "b"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "ab"}]},
        {"type": "reasoning", "summary": []},
        {
            "role": "assistant",
            "content": [{"type": "output_text", "text": "cd", "annotations": []}],
        },
        {"role": "user", "content": "d"},
    ]
    talk = [
        {"role": "system", "content": "a\n\nb"},
        {"role": "user", "content": "ab"},
        {"role": "assistant", "content": "cd"},
        {"role": "user", "content": "d"},
    ]
    with decoder_of(files) as decoder:
        alone = decoder.chat(talk, max_tokens=24, seed=7)
    told = post(client, input=items, instructions="a")
    assert told["output"][0]["content"][0]["text"] == alone.text
    assert told["usage"]["input_tokens"] == alone.prompt_tokens


def test_a_form_is_kept(client: TestClient) -> None:
    schema = {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2}
    form = {"type": "json_schema", "name": "flags", "strict": True, "schema": schema}
    told = post(client, text={"format": form}, max_output_tokens=60)
    jsonschema.validate(json.loads(told["output"][0]["content"][0]["text"]), schema)
    assert told["text"]["format"] == form


def test_calls_are_items(caller: TestClient) -> None:
    asked = {"tools": FLAT, "tool_choice": "required", "max_output_tokens": 400}
    told = post(caller, **asked)
    assert told["output"]
    for item in told["output"]:
        assert item["type"] == "function_call"
        if told["status"] == "completed":
            jsonschema.validate(json.loads(item["arguments"]), SCHEMAS[item["name"]])
    events = events_of(caller.post(URL, json={**ASKED, **asked, "stream": True}))
    assert rebuilt(events) == events[-1]["response"]["output"]
    assert without_ids(events[-1]["response"]["output"]) == without_ids(told["output"])


def test_text_before_a_call_is_an_item_of_its_own(caller: TestClient) -> None:
    call = HERMES.opening.replace("NAME", "now") + "{}" + HERMES.closing
    asked = {"tools": FLAT, "choice": [f"Well.\n{call}{call}"], "max_output_tokens": 400}
    told = post(caller, **asked)
    assert [item["type"] for item in told["output"]] == ["message", *["function_call"] * 2]
    assert told["output"][0]["content"][0]["text"] == "Well."
    assert told["output"][1]["call_id"] != told["output"][2]["call_id"]
    events = events_of(caller.post(URL, json={**ASKED, **asked, "stream": True}))
    assert rebuilt(events) == events[-1]["response"]["output"]


def test_a_conversation_goes_on_with_what_a_tool_said(caller: TestClient) -> None:
    items = [
        {"role": "user", "content": "ab"},
        {"type": "function_call", "call_id": "abcdefghi", "name": "now", "arguments": "{}"},
        {"type": "function_call", "call_id": "abcdefghj", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "abcdefghi", "output": "12:00"},
        {"type": "function_call_output", "call_id": "abcdefghj", "output": "12:01"},
    ]
    call = {"type": "function", "function": {"name": "now", "arguments": "{}"}}
    talk = [
        {"role": "user", "content": "ab"},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "abcdefghi", **call}, {"id": "abcdefghj", **call}]},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "12:00"},
        {"role": "tool", "tool_call_id": "abcdefghj", "content": "12:01"},
    ]  # fmt: skip
    chat = {"messages": talk, "tools": TOOLS, "max_tokens": 8, "seed": 7}
    message = caller.post("/v1/chat/completions", json=chat).json()
    told = post(caller, input=items, tools=FLAT, max_output_tokens=8)
    assert told["usage"]["input_tokens"] == message["usage"]["prompt_tokens"]
    text = message["choices"][0]["message"]["content"]
    assert told["output"][0]["content"][0]["text"] == text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"input": 3}, "input"),
        ({"input": []}, "empty"),
        ({"input": [{"type": "image"}]}, "input[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"content": "a"}]}, "role"),
        ({"input": [{"type": "function_call_output"}]}, "input[0].output"),
        ({"input": "a", "previous_response_id": "resp_1"}, "keeps no responses"),
        ({"input": "a", "conversation": "conv_1"}, "keeps no responses"),
        ({"input": "a", "background": True}, "keeps no responses"),
        ({"input": "a", "n": 2}, "one answer"),
        ({"input": "a", "tools": [{"type": "web_search"}]}, "tools[0]"),
        ({"input": "a", "text": {"format": {"type": "xml"}}}, "xml"),
        ({"input": "a", "text": {"format": {"type": "json_schema"}}}, "schema"),
        ({"input": "a", "top_logprobs": 10**6}, "top_logprobs"),
    ],
)
def test_what_is_wrong_is_a_400_that_says_so(
    client: TestClient, fields: dict[str, Any], said: str
) -> None:
    answer = client.post(URL, json={**ASKED, **fields})
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]["message"]


def test_an_error_in_the_middle_is_an_event_and_the_end(files: Files) -> None:
    broken = files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE, nan_output=5)
    with serving_of(lambda: Decoder(broken.path, **EXACT)) as client:
        answer = client.post(URL, json=ASKED)
        assert answer.status_code == 500
        assert answer.json()["error"]["code"] == "evaluation_failed"
        events = events_of(client.post(URL, json={**ASKED, "stream": True}))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["code"] == "evaluation_failed"
    assert events[-1]["response"]["status"] == "failed"
    assert events[-1]["response"]["error"]["message"] == events[-2]["message"]
