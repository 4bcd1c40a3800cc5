"""How a server under load ends, by a signal that may be heeded and by one that may not."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.http_server import Command
from tests.support.served import VOCAB
from tests.support.tiny_gguf import CHATML_TEMPLATE
from tests.support.wire_client import asked, connected, request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Files

PATH = "/v1/completions"
ASKED: dict[str, Any] = {"prompt": "ab", "max_tokens": 8, "seed": 1, "ignore_eos": True}


@pytest.fixture
def model(files: Files) -> Path:
    return files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE).path


async def until_ready(url: str) -> None:
    while (await asked(url, "/health")).status != 200:
        await asyncio.sleep(0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


# --- SIGTERM --------------------------------------------------------------------------------------


async def streamed(url: str, begun: asyncio.Semaphore, **fields: Any) -> str:
    """What a stream says last; a permit is given once it says anything."""
    async with connected(url) as connection:
        body = json.dumps({**ASKED, "stream": True, **fields}).encode()
        await connection.send(request(PATH, body))
        answer = await connection.head()
        async for piece in connection.pieces(answer):
            begun.release()
            answer.body += piece
    return answer.body.decode().strip().split("\n\n")[-1]


async def under_load(command: Command, tokens: int) -> tuple[list[str], Any]:
    """What twelve streams say last, and what is said to who asks once SIGTERM was sent."""
    url = command.wait_for_url()
    await until_ready(url)
    begun = asyncio.Semaphore(0)
    streams = [
        asyncio.ensure_future(streamed(url, begun, max_tokens=tokens, deterministic=False))
        for _ in range(12)
    ]
    await begun.acquire()
    command.signal(signal.SIGTERM)
    late = await asked(url, PATH, ASKED)
    while late.status == 200:  # the signal is not heard yet
        late = await asked(url, PATH, ASKED)
    return await asyncio.gather(*streams), late


def test_sigterm_under_load_lets_answers_end_and_refuses_others(model: Path) -> None:
    words = ("-m", model, "-t", 1, "--port", 0, "-c", 6144, "--drain-seconds", 600)
    with Command(*words) as command:
        ends, late = asyncio.run(under_load(command, 400))
        assert command.wait() == 0
    assert ends == ["data: [DONE]"] * 12
    assert late.status == 503
    assert late.json()["error"]["code"] == "shutting_down"
    assert not any("Traceback" in line for line in command.lines)


def test_sigterm_under_load_ends_what_takes_longer_than_it_may(model: Path) -> None:
    words = ("-m", model, "-t", 1, "--port", 0, "-c", 131072, "--drain-seconds", 1)
    with Command(*words) as command:
        ends, late = asyncio.run(under_load(command, 9000))
        assert command.wait() == 0
    assert len(ends) == 12
    for end in ends:
        assert json.loads(end.removeprefix("data: "))["error"]["code"] == "shutting_down"
    assert late.status == 503
    assert not any("Traceback" in line for line in command.lines)


# --- SIGKILL --------------------------------------------------------------------------------------


def test_a_server_that_was_killed_serves_again_at_the_same_port(model: Path) -> None:
    words = ("-m", model, "-t", 1, "--port", free_port())

    async def killed_amid_answers(command: Command) -> str:
        url = command.wait_for_url()
        await until_ready(url)
        text = (await asked(url, PATH, ASKED)).json()["choices"][0]["text"]
        begun = asyncio.Semaphore(0)
        streams = [asyncio.ensure_future(streamed(url, begun, max_tokens=450)) for _ in range(4)]
        await begun.acquire()
        command.signal(signal.SIGKILL)
        ends = await asyncio.gather(*streams, return_exceptions=True)
        assert any(isinstance(end, (OSError, EOFError)) for end in ends)
        return str(text)

    async def again(command: Command) -> str:
        url = command.wait_for_url()
        await until_ready(url)
        return str((await asked(url, PATH, ASKED)).json()["choices"][0]["text"])

    with Command(*words) as command:
        text = asyncio.run(killed_amid_answers(command))
        assert command.wait() == -signal.SIGKILL
    with Command(*words) as command:
        assert asyncio.run(again(command)) == text


def test_a_server_that_was_killed_serves_again_at_the_same_socket(
    model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    words = ("-m", model, "-t", 1, "--uds", path)
    for _ in range(2):
        with Command(*words) as command:
            command.wait_for_url()
            transport = httpx.HTTPTransport(uds=str(path))
            with httpx.Client(transport=transport, base_url="http://localhost") as client:
                assert client.get("/health").status_code in (200, 503)
            command.signal(signal.SIGKILL)
            assert command.wait() == -signal.SIGKILL
        assert path.exists()  # nobody could remove it
