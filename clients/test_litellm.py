"""litellm, by its provider for OpenAI-compatible servers."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Any, Literal

import litellm
import pytest
from pydantic import BaseModel

from .serving import NAME, NO_SPACES

CLIENT = f"litellm {version('litellm')}"


class Answer(BaseModel):
    mood: Literal["good", "bad"]


@pytest.fixture
def asked(url: str) -> dict[str, Any]:
    """What every question has."""
    return {
        "model": f"openai/{NAME}",
        "api_base": f"{url}/v1",
        "api_key": "none",
        "messages": [{"role": "user", "content": "Hello!"}],
        "max_tokens": 24,
        "seed": 3,
        "num_retries": 0,
    }


def test_a_chat_and_its_stream_are_the_same(asked: dict[str, Any]) -> None:
    whole: Any = litellm.completion(**asked)
    chunks = list(litellm.completion(**asked, stream=True))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == (
        whole.choices[0].message.content
    )
    assert whole.usage.completion_tokens > 0
    rebuilt: Any = litellm.stream_chunk_builder(chunks)
    assert rebuilt.choices[0].message.content == whole.choices[0].message.content


def test_an_asynchronous_chat_is_the_same(asked: dict[str, Any]) -> None:
    whole: Any = litellm.completion(**asked)
    again: Any = asyncio.run(litellm.acompletion(**asked))
    assert again.choices[0].message.content == whole.choices[0].message.content


def test_structured_outputs(asked: dict[str, Any]) -> None:
    told: Any = litellm.completion(**asked, response_format=Answer, logit_bias=NO_SPACES)
    Answer.model_validate_json(told.choices[0].message.content)


def test_a_tool_is_called(asked: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Kyiv"]}}, "required": ["city"]}
    schema["additionalProperties"] = False
    tool = {"type": "function", "function": {"name": "weather", "parameters": schema}}
    told: Any = litellm.completion(
        **asked | {"max_tokens": 300},
        tools=[tool],
        tool_choice="required",
        parallel_tool_calls=False,
        logit_bias=NO_SPACES,
    )
    [call] = told.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"Kyiv"}')


def test_a_plain_completion(asked: dict[str, Any]) -> None:
    del asked["messages"]
    model = f"text-completion-openai/{NAME}"
    told: Any = litellm.text_completion(**asked | {"model": model}, prompt="Once upon")
    assert told.choices[0].text


def test_what_is_wrong_is_said(asked: dict[str, Any]) -> None:
    with pytest.raises(litellm.exceptions.BadRequestError, match="temperature"):
        litellm.completion(**asked, temperature=-1)
    long = [{"role": "user", "content": "word " * 4000}]
    with pytest.raises(litellm.exceptions.ContextWindowExceededError):
        litellm.completion(**asked | {"messages": long})
