"""Bodies that nobody would send: whatever comes, the answer is no fault of ours."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.served import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

    from tests.conftest import Files

HONEST = frozenset((200, 400, 413, 429, 503))
CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
SEEDS: dict[str, dict[str, Any]] = {
    CHAT: {
        "messages": [{"role": "user", "content": "ab"}],
        "max_completion_tokens": 3,
        "top_logprobs": 2,
        "logprobs": True,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "chat_template_kwargs": {"a": 1},
        "continue_from": [5],
    },
    COMPLETIONS: {"prompt": "ab", "echo": True, "logprobs": 1, "best_of": 1},
}
COMMON: dict[str, Any] = {
    "max_tokens": 3,
    "n": 1,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "min_p": 0.1,
    "stop": ["x"],
    "seed": 1,
    "logit_bias": {"5": 1},
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "repeat_penalty": 1.1,
    "repeat_last_n": 8,
    "n_probs": 1,
    "stream": True,
    "stream_options": {"include_usage": True},
    "strength": {"draft": 1.0},
    "rule": "exact",
    "verification": "block",
    "num_draft_tokens": 2,
    "tree_width": 1,
    "prompt_lookup": True,
    "deterministic": False,
    "return_token_info": True,
    "return_tokens": True,
    "return_progress": True,
    "timings_per_token": True,
    "ignore_eos": True,
    "regex": "a+",
}
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 64, 2**31, 2**63, 2**64, 10**30, -(2**63), 1e308, -1e-308),
    *(float("nan"), float("inf"), "", "a", "\x00", "\U0001f600", "\ud800", "a" * 5000, "9" * 50),
    *([], [[]], {}, [None], ["a"], [1], [-1], [2**40], [[1, 2], [3]], {"a": {}}, {"1": 1}),
    *({"type": "json_object"}, {"type": "json_schema"}, {"role": "user"}, [["a", False]]),
)


@pytest.fixture(scope="module")
def client(files: Files) -> Iterator[TestClient]:
    with serving(files, options={"n_ctx": 96}, max_n=4) as opened:
        yield opened


def altered(body: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """A few fields less, and a few with values of another kind."""
    found = {name: value for name, value in body.items() if draw.random() < 0.6}
    for name in draw.sample(sorted(body), draw.randint(0, 2)):
        found[name] = draw.choice(ODD)
    if draw.random() < 0.2 and isinstance(found.get("messages"), list):
        found["messages"] = [{"role": draw.choice(ODD), "content": draw.choice(ODD)}]
    return found


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("seed", range(4))
def test_no_body_is_our_fault(client: TestClient, path: str, seed: int) -> None:
    draw = random.Random(seed)
    statuses = []
    for _ in range(150):
        body = altered({**SEEDS[path], **COMMON}, draw)
        answer = client.post(path, content=json.dumps(body))
        statuses.append(answer.status_code)
        assert answer.status_code in HONEST, (body, answer.text)
        if answer.status_code != 200:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        elif body.get("stream"):
            assert answer.text.endswith("data: [DONE]\n\n"), (body, answer.text)
    assert {200, 400} <= set(statuses)


@pytest.mark.parametrize("seed", range(2))
def test_no_bytes_are_our_fault(client: TestClient, seed: int) -> None:
    draw = random.Random(seed)
    whole = json.dumps({**SEEDS[COMPLETIONS], **COMMON}).encode()
    for _ in range(150):
        body = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(body))
            body[place : place + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
        assert client.post(COMPLETIONS, content=bytes(body)).status_code in HONEST, bytes(body)


def test_all_of_that_leaves_nothing_behind(client: TestClient) -> None:
    assert client.get("/health").json()["under_way"] == 0
