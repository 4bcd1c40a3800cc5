"""simonw/llm: by our plugin, and by what it has for OpenAI-compatible servers."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import llm
import pytest
from pydantic import BaseModel, ConfigDict

from rewardshift import Decoder

from .serving import NAME

if TYPE_CHECKING:
    from pathlib import Path

CLIENT = f"llm {version('llm')}"


class Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    mood: Literal["good", "bad"]


class Program:
    """`llm`, with a folder of its own for what it keeps."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.setenv("LLM_USER_PATH", str(folder))

    def run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "llm", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fail(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "llm", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    return Program(tmp_path, monkeypatch)


@pytest.fixture
def files(flags: list[str]) -> dict[str, str]:
    """Options that name the tiny models."""
    target, draft, reference = flags[1:6:2]
    return {"target": target, "shift": f"ours={draft}:{reference}"}


# --- the plugin ---------------------------------------------------------------------------------


def test_the_plugin_is_found(program: Program) -> None:
    [told] = [p for p in json.loads(program.run("plugins")) if p["name"] == "rewardshift"]
    assert told["hooks"] == ["register_models"]
    assert "rewardshift" in program.run("models")
    assert "max_tokens" in program.run("models", "--options", "-m", "rewardshift")


def test_the_plugin_answers_as_the_decoder_does(program: Program, files: dict[str, str]) -> None:
    options = {**files, "seed": "4", "max_tokens": "16", "strength": "2"}
    words = [word for pair in options.items() for word in ("-o", *pair)]
    answer = program.run("-m", "rewardshift", *words, "Hello!")
    draft, reference = files["shift"].removeprefix("ours=").split(":")
    with Decoder(files["target"], draft, reference) as decoder:
        messages: Any = [{"role": "user", "content": "Hello!"}]
        own = decoder.chat(messages, seed=4, max_tokens=16, strength=2)
    assert answer == own.text + "\n"
    [logged] = json.loads(program.run("logs", "--json"))
    assert logged["output_tokens"] == own.usage["completion_tokens"]
    assert logged["response_json"]["rewardshift"]["seed"] == 4


def test_the_plugin_converses_and_streams(files: dict[str, str]) -> None:
    model = llm.get_model("rewardshift")
    conversation = model.conversation()
    options = {**files, "seed": 4, "max_tokens": 16}
    first = conversation.prompt("Hello!", **options)
    pieces = list(first)
    assert len(pieces) > 2
    assert "".join(pieces) == model.prompt("Hello!", stream=False, **options).text()
    second = conversation.prompt("And?", **options)
    messages: Any = [
        {"role": "user", "content": "Hello!"},
        {"role": "assistant", "content": first.text()},
        {"role": "user", "content": "And?"},
    ]
    assert second.text() == model.prompt(messages=_parts(messages), **options).text()
    assert second.input_tokens > first.input_tokens


def test_the_plugin_keeps_to_a_schema_with_the_embedded_default() -> None:
    model = llm.get_model("rewardshift")
    told = model.prompt("How are you?", schema=Answer, seed=4, max_tokens=200)
    Answer.model_validate_json(told.text())


def test_the_plugin_says_what_is_wrong(program: Program, files: dict[str, str]) -> None:
    asked = ("-m", "rewardshift", "-o", "target", files["target"])
    assert "no dial 'x'" in program.fail(*asked, "-o", "shift", "x", "Hello!")
    assert "not 'much'" in program.fail(*asked, "-o", "strength", "much", "Hello!")
    assert "temperature" in program.fail(*asked, "-o", "temperature", "-1", "Hello!")


def _parts(messages: list[dict[str, str]]) -> list[llm.Message]:
    make = {"user": llm.user, "assistant": llm.assistant}
    return [make[message["role"]](message["content"]) for message in messages]


# --- the server ---------------------------------------------------------------------------------


def test_llm_reads_the_server_as_an_openai_compatible_model(program: Program, url: str) -> None:
    told = {"model_id": "served", "model_name": NAME, "api_base": f"{url}/v1"}
    (program.folder / "extra-openai-models.yaml").write_text(json.dumps([told]))
    asked = ("-m", "served", "-o", "seed", "4", "-o", "max_tokens", "16")
    answer = program.run(*asked, "Hello!")
    assert answer.strip()
    assert program.run(*asked, "--no-stream", "Hello!") == answer
    [conversation, _] = json.loads(program.run("logs", "--json"))
    assert conversation["input_tokens"] > 0
    assert program.run("-c", "And?").strip()
