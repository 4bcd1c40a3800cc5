"""OpenAI's Python package."""

from __future__ import annotations

import asyncio
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel, Field

from .serving import NAME, NO_SPACES, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLIENT = f"openai {version('openai')} (Python)"
MESSAGES: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
ASKED: Any = {"model": NAME, "messages": MESSAGES, "max_tokens": 24, "seed": 7}
JSON_ASKED: Any = ASKED | {"max_tokens": 300, "logit_bias": NO_SPACES}


class Answer(BaseModel):
    """What structured outputs are to be."""

    mood: Literal["good", "bad"]
    stars: int = Field(ge=1, le=5)


class Weather(BaseModel):
    """Tells the weather of a city."""

    city: Literal["Kyiv", "Graz"]
    days: int = Field(ge=1, le=14)


TOOL: Any = openai.pydantic_function_tool(Weather)


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as opened:
        yield opened


def test_the_model_is_listed_and_found(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [NAME]
    assert client.models.retrieve(NAME).owned_by == "rewardshift"


def test_a_chat_is_answered_and_a_seed_repeats_it(client: OpenAI) -> None:
    first, second = (client.chat.completions.create(**ASKED) for _ in range(2))
    choice = first.choices[0]
    assert choice.message.content == second.choices[0].message.content
    assert choice.message.role == "assistant"
    assert choice.finish_reason in ("length", "stop")
    assert first.usage is not None
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens
    assert first.usage.completion_tokens_details is not None
    assert first.usage.completion_tokens_details.accepted_prediction_tokens is not None


def test_a_stream_is_the_answer_in_pieces(client: OpenAI) -> None:
    whole = client.chat.completions.create(**ASKED)
    chunks = list(
        client.chat.completions.create(**ASKED, stream=True, stream_options={"include_usage": True})
    )
    pieces = [c.choices[0].delta.content or "" for c in chunks if c.choices]
    assert len(pieces) > 2
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert chunks[-1].usage == whole.usage


def test_several_choices_differ(client: OpenAI) -> None:
    choices = client.chat.completions.create(**ASKED, n=3).choices
    assert [choice.index for choice in choices] == [0, 1, 2]
    assert len({choice.message.content for choice in choices}) == 3


def test_log_probabilities_are_parsed(client: OpenAI) -> None:
    told = client.chat.completions.create(**ASKED, logprobs=True, top_logprobs=2).choices[0]
    assert told.logprobs is not None
    assert told.logprobs.content
    assert b"".join(bytes(t.bytes or ()) for t in told.logprobs.content).decode(
        errors="replace"
    ) == (told.message.content)
    assert all(len(token.top_logprobs) == 2 for token in told.logprobs.content)
    assert all(token.logprob <= 0 for token in told.logprobs.content)


def test_fields_of_ours_go_both_ways(client: OpenAI) -> None:
    plain = client.chat.completions.create(**ASKED, extra_body={"strength": 0.0})
    aligned = client.chat.completions.create(**ASKED, extra_body={"strength": 3.0})
    told: Any = [(answer.model_extra or {})["rewardshift"] for answer in (plain, aligned)]
    assert [t["seed"] for t in told] == [7, 7]
    assert plain.choices[0].message.content != aligned.choices[0].message.content


def test_many_at_once_get_what_each_gets_alone(url: str, client: OpenAI) -> None:
    seeds = range(8)

    async def ask() -> list[str | None]:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as aio:
            answers = await asyncio.gather(
                *(aio.chat.completions.create(**ASKED | {"seed": seed}) for seed in seeds)
            )
        return [answer.choices[0].message.content for answer in answers]

    alone = [client.chat.completions.create(**ASKED | {"seed": seed}) for seed in seeds]
    assert asyncio.run(ask()) == [answer.choices[0].message.content for answer in alone]


def test_an_asynchronous_stream_is_the_same(url: str, client: OpenAI) -> None:
    async def ask() -> str:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as aio:
            stream = await aio.chat.completions.create(**ASKED, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(ask()) == client.chat.completions.create(**ASKED).choices[0].message.content


def test_structured_outputs_are_what_pydantic_asks_for(client: OpenAI) -> None:
    for seed in range(5):
        answer = client.chat.completions.parse(
            **JSON_ASKED | {"seed": seed}, response_format=Answer
        )
        assert isinstance(answer.choices[0].message.parsed, Answer)


def test_structured_outputs_are_parsed_while_they_are_streamed(client: OpenAI) -> None:
    with client.chat.completions.stream(**JSON_ASKED, response_format=Answer) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert isinstance(final.choices[0].message.parsed, Answer)


def test_a_tool_that_must_be_called_is_called(client: OpenAI) -> None:
    answer = client.chat.completions.parse(
        **JSON_ASKED, tools=[TOOL], tool_choice="required", parallel_tool_calls=False
    ).choices[0]
    assert answer.finish_reason == "tool_calls"
    [call] = answer.message.tool_calls or []
    assert call.function.name == "Weather"
    assert isinstance(call.function.parsed_arguments, Weather)


def test_a_tools_result_is_read_by_the_model(client: OpenAI) -> None:
    choice: Any = {"type": "function", "function": {"name": "Weather"}}
    called = client.chat.completions.create(
        **JSON_ASKED, tools=[TOOL], tool_choice=choice, parallel_tool_calls=False
    )
    message = called.choices[0].message
    assert message.tool_calls is not None
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "Rain."}
    asked: Any = [*MESSAGES, message, result]
    answer = client.chat.completions.create(**ASKED | {"messages": asked}, tools=[TOOL])
    assert answer.choices[0].message.content is not None
    assert answer.usage is not None
    assert called.usage is not None
    assert answer.usage.prompt_tokens > called.usage.prompt_tokens


def test_a_call_is_assembled_from_a_stream(client: OpenAI) -> None:
    with client.chat.completions.stream(
        **JSON_ASKED, tools=[TOOL], tool_choice="required", parallel_tool_calls=False
    ) as stream:
        kinds = {event.type for event in stream}
        choice = stream.get_final_completion().choices[0]
    assert "tool_calls.function.arguments.done" in kinds
    assert choice.finish_reason == "tool_calls"
    [call] = choice.message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, Weather)


def test_errors_are_the_packages_own(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="temperature") as caught:
        client.chat.completions.create(**ASKED, temperature=-1)
    assert caught.value.type == "invalid_request_error"
    with pytest.raises(openai.NotFoundError):
        client.embeddings.create(model=NAME, input="hello")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("another")
    with pytest.raises(openai.BadRequestError, match="context"):
        client.chat.completions.create(
            **ASKED | {"messages": [{"role": "user", "content": "word " * 4000}]}
        )


def test_keys_are_asked_for(flags: list[str], tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("one\ntwo\n")
    with running([*flags, "--api-key-file", str(keys)], tmp_path / "log") as url:
        OpenAI(base_url=f"{url}/v1", api_key="two").chat.completions.create(**ASKED)
        with pytest.raises(openai.AuthenticationError):
            OpenAI(base_url=f"{url}/v1", api_key="three").chat.completions.create(**ASKED)


def test_whoever_stops_reading_frees_the_place(url: str, client: OpenAI) -> None:
    with client.chat.completions.create(
        **ASKED | {"max_tokens": 3000}, stream=True, extra_body={"ignore_eos": True}
    ) as stream:
        next(iter(stream))
        assert httpx.get(f"{url}/health").json()["under_way"] == 1
    end = time.monotonic() + 30
    while httpx.get(f"{url}/health").json()["under_way"]:
        assert time.monotonic() < end
        time.sleep(0.02)
