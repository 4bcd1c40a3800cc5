"""Bodies that nobody would send, to all that is no plain completion: no fault of ours either."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from rewardshift.serve.tools.formats import HERMES
from tests.support.tool_models import TOOLS, serving_tools
from tests.test_serve_fuzz import COMMON, HONEST, ODD, altered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

    from tests.conftest import Files

TALK = [{"role": "user", "content": "ab"}]
CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "now", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
FLAT = [{"type": "function", **tool["function"]} for tool in TOOLS]
SEEDS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        **COMMON,
        "messages": [*TALK, CALLED, {"role": "tool", "tool_call_id": "abcdefghi", "content": "1"}],
        "tools": TOOLS,
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "regex": None,
    },
    "/v1/responses": {
        **COMMON,
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "ab"}]},
            {"type": "function_call", "call_id": "abcdefghi", "name": "now", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "abcdefghi", "output": "1"},
        ],
        "instructions": "a",
        "max_output_tokens": 3,
        "tools": FLAT,
        "tool_choice": "auto",
        "text": {"format": {"type": "text"}},
        "include": ["message.output_text.logprobs"],
        "metadata": {"a": "b"},
    },
    "/completion": {
        **COMMON,
        "prompt": ["ab", 5],
        "response_fields": ["content", "timings/predicted_n"],
        "post_sampling_probs": True,
    },
    "/v1/score": {
        "messages": TALK,
        "continuation": "ab",
        "temperature": 0.5,
        "top_k": 5,
        "strength": 0,
        "top_logprobs": 2,
        "tools": TOOLS,
    },
    "/tokenize": {"content": ["ab", 5], "add_special": True, "with_pieces": True},
    "/detokenize": {"tokens": [5, 6], "model": "a"},
    "/apply-template": {"messages": [*TALK, CALLED], "tools": TOOLS, "chat_template_kwargs": {}},
}


@pytest.fixture(scope="module")
def client(files: Files) -> Iterator[TestClient]:
    with serving_tools(files, HERMES, max_n=4, defaults={"max_tokens": 8}) as opened:
        yield opened


def inside(value: Any, draw: random.Random) -> Any:
    """The same with something else deep in it."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        name = draw.choice(sorted(value))
        return {**value, name: inside(value[name], draw)}
    if isinstance(value, list) and value and draw.random() < 0.9:
        place = draw.randrange(len(value))
        return [*value[:place], inside(value[place], draw), *value[place + 1 :]]
    return draw.choice(ODD)


@pytest.mark.parametrize("path", SEEDS)
@pytest.mark.parametrize("seed", range(2))
def test_no_body_is_our_fault(client: TestClient, path: str, seed: int) -> None:
    draw = random.Random(f"{path} {seed}")
    statuses = []
    for _ in range(120):
        body = altered(SEEDS[path], draw) if draw.random() < 0.3 else inside(SEEDS[path], draw)
        answer = client.post(path, content=json.dumps(body))
        statuses.append(answer.status_code)
        assert answer.status_code in HONEST, (body, answer.text)
        if answer.status_code != 200:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        else:
            assert '"server_error"' not in answer.text, (body, answer.text)
    assert {200, 400} <= set(statuses)


def test_all_of_that_leaves_nothing_behind(client: TestClient) -> None:
    assert client.get("/health").json()["under_way"] == 0
    assert not any(slot["is_processing"] for slot in client.get("/slots").json())
