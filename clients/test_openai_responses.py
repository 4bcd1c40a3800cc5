"""OpenAI's Python package, the Responses interface."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel, ConfigDict

from .serving import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

CLIENT = f"openai {version('openai')} (Python)"
ASKED: Any = {
    "model": NAME,
    "instructions": "Be brief.",
    "input": "Hello!",
    "max_output_tokens": 24,
    "extra_body": {"seed": 7},
}


class Weather(BaseModel):
    """Tells the weather of a city."""

    model_config = ConfigDict(extra="forbid")
    city: Literal["Kyiv", "Graz"]


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def test_a_response_is_the_chats_answer(client: OpenAI) -> None:
    told = client.responses.create(**ASKED)
    messages: Any = [{"role": "system", "content": "Be brief."}]
    messages.append({"role": "user", "content": "Hello!"})
    chat = client.chat.completions.create(model=NAME, messages=messages, max_tokens=24, seed=7)
    assert told.output_text == chat.choices[0].message.content
    assert told.usage is not None
    assert chat.usage is not None
    assert told.usage.output_tokens == chat.usage.completion_tokens


def test_a_stream_is_the_response_in_events(client: OpenAI) -> None:
    whole = client.responses.create(**ASKED)
    with client.responses.stream(**ASKED) as stream:
        events = list(stream)
    assert events[0].type == "response.created"
    last = events[-1]
    assert last.type in ("response.completed", "response.incomplete")
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == last.response.output_text == whole.output_text


def test_a_function_is_called(client: OpenAI) -> None:
    told = client.responses.parse(
        **ASKED | {"max_output_tokens": 2000},
        tools=[openai.pydantic_function_tool(Weather)["function"] | {"type": "function"}],
        tool_choice="required",
        parallel_tool_calls=False,
    )
    [call] = told.output
    assert call.type == "function_call"
    assert Weather.model_validate_json(call.arguments)
