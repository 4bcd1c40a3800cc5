"""langchain-openai."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI, OpenAI
from pydantic import BaseModel, SecretStr

from .serving import NAME, NO_SPACES

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENT = f"langchain-openai {version('langchain-openai')}"


class Weather(BaseModel):
    """Tells the weather of a city."""

    city: Literal["Kyiv", "Graz"]


@pytest.fixture
def make(url: str) -> Callable[..., ChatOpenAI]:
    """Makes a model, with further options."""

    def of(**options: Any) -> ChatOpenAI:
        options = {"max_completion_tokens": 24, "seed": 5, "max_retries": 0} | options
        return ChatOpenAI(model=NAME, base_url=f"{url}/v1", api_key=SecretStr("none"), **options)

    return of


@pytest.fixture
def json_bias() -> dict[int, int]:
    return {int(token): bias for token, bias in NO_SPACES.items()}


def test_a_chat_and_its_stream_are_the_same(make: Callable[..., ChatOpenAI]) -> None:
    model = make()
    whole = model.invoke([HumanMessage("Hello!")])
    assert whole.content
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["output_tokens"] > 0
    assert "".join(str(c.content) for c in model.stream([HumanMessage("Hello!")])) == whole.content


def test_a_batch_and_an_asynchronous_one(make: Callable[..., ChatOpenAI]) -> None:
    model = make()
    questions: list[Any] = ["Hello!", "Goodbye!", "What?"]
    whole = [model.invoke(question).content for question in questions]
    assert [answer.content for answer in model.batch(questions)] == whole
    assert [a.content for a in asyncio.run(model.abatch(questions))] == whole


def test_a_chain_has_a_prompt_before_it(make: Callable[..., ChatOpenAI]) -> None:
    template = ChatPromptTemplate([("system", "Be {how}."), ("user", "{question}")])
    chain = template | make()
    answer = chain.invoke({"how": "brief", "question": "Hello!"})
    assert answer.content


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_outputs(
    method: Literal["json_schema", "function_calling"],
    make: Callable[..., ChatOpenAI],
    json_bias: dict[int, int],
) -> None:
    model = make(max_completion_tokens=300, logit_bias=json_bias)
    found = model.with_structured_output(Weather, method=method, strict=True).invoke("Hello!")
    assert isinstance(found, Weather)


def test_a_tool_is_called_and_its_result_read(
    make: Callable[..., ChatOpenAI], json_bias: dict[int, int]
) -> None:
    model = make(max_completion_tokens=300, logit_bias=json_bias)
    bound = model.bind_tools(
        [Weather], tool_choice="required", parallel_tool_calls=False, strict=True
    )
    called = bound.invoke("Hello!")
    assert isinstance(called, AIMessage)
    [call] = called.tool_calls
    assert Weather.model_validate(call["args"])
    result = ToolMessage("Rain.", tool_call_id=call["id"])
    assert make().invoke([HumanMessage("Hello!"), called, result]).content


def test_log_probabilities(make: Callable[..., ChatOpenAI]) -> None:
    told = make(logprobs=True, top_logprobs=2).invoke("Hello!").response_metadata["logprobs"]
    assert all(len(token["top_logprobs"]) == 2 for token in told["content"])


def test_a_plain_completion(url: str) -> None:
    model = OpenAI(
        model=NAME, base_url=f"{url}/v1", api_key=SecretStr("none"), max_tokens=12, seed=5
    )
    assert "".join(model.stream("Once upon")) == model.invoke("Once upon")
