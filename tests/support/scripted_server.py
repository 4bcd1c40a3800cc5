"""A server with our page and answers from a script, which can die and come back."""

from __future__ import annotations

import asyncio
import json
import math
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.responses import JSONResponse, Response, StreamingResponse

from rewardshift.serve.routes import page

from .http_server import listening

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request
    from typing_extensions import Self

PROPS: dict[str, Any] = {
    "model_alias": "scripted",
    "model_path": "scripted.gguf",
    "shifts": [{"name": "positive", "strength": 1.0, "description": "Sounds positive."}],
    "draft": True,
    "end_of_generation": [0],
}


def token(text: str, origin: str = "draft", **told: Any) -> dict[str, Any]:
    """A token as the server tells of it; its id is made of its text."""
    own = {"id": id_of(text), "text": text, "logprob": math.log(0.5)}
    others = [("good", 0.25), (" grand", 0.1)]
    top = [own, *({"id": id_of(t), "text": t, "logprob": math.log(p)} for t, p in others)]
    return {
        **own,
        "origin": origin,
        "target_logprob": math.log(0.25),
        "draft_logprob": math.log(0.4),
        "reference_logprob": math.log(0.2),
        "shifts": {"positive": math.log(2)},
        "log_z": 0.0,
        "top": top,
        **told,
    }


def id_of(text: str) -> int:
    return int.from_bytes(text.encode()[-3:], "big") + 1


def says(*tokens: dict[str, Any], text: str | None = None) -> dict[str, Any]:
    """A chunk with some tokens, and their text unless it is another."""
    content = "".join(t["text"] for t in tokens) if text is None else text
    choice = {"delta": {"content": content}, "rewardshift": {"tokens": list(tokens)}}
    return {"choices": [{"index": 0, "finish_reason": None, **choice}]}


def ends(reason: str = "stop") -> dict[str, Any]:
    """The last chunk."""
    summary = {"acceptance": 0.5, "drafted": 4, "tokens_per_round": 2.0, "seed": 1}
    told = {**summary, "implicit_reward": {"positive": 1.5}, "tokens": []}
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason, "rewardshift": told}]}


async def echo(body: dict[str, Any], _: ScriptedServer) -> AsyncIterator[dict[str, Any]]:
    """Says what it was asked, word by word, and how: the strength, or what it goes on from."""
    strength = (body.get("strength") or {}).get("positive", 0)
    yield says(token("You", "bonus"), token(" said", "draft"))
    for word in body["messages"][-1]["content"].split():
        yield says(token(f" {word}", "correction"))
    yield says(token(f" at {strength}", "bonus"))
    yield ends()


class DiedError(Exception):
    """What a running answer meets when the server dies."""


@dataclass
class ScriptedServer:
    """Serves the page; a context manager.

    Attributes:
        script: Given a request's body and the server, makes the chunks of its answer; or gives
            another answer than chunks, in place of them.
        props: What the server says of itself.
        is_loading: Whether its models are not there yet.
        key: Asked of everything but the page and health, unless that is None.
        requests: The bodies of all questions that came.
        cancelled: How many answers the client did not wait for.
    """

    script: Callable[[dict[str, Any], ScriptedServer], AsyncIterator[dict[str, Any]] | Response] = (
        echo
    )
    props: dict[str, Any] = field(default_factory=lambda: dict(PROPS))
    is_loading: bool = False
    key: str | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    cancelled: int = 0

    def __enter__(self) -> Self:
        self._port = 0
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def start(self) -> None:
        """Listens, at the same port each time."""
        self._dead = threading.Event()
        self._life = ExitStack()
        _, self._port = self._life.enter_context(listening(self._app(), self._port))

    def die(self) -> None:
        """Breaks every answer off and listens no longer."""
        self._dead.set()
        self._life.close()

    async def until(self, event: threading.Event) -> None:
        """Waits for the test, in a script; the server's death ends that."""
        while not event.is_set():
            if self._dead.is_set():
                raise DiedError
            await asyncio.sleep(0.01)

    def _app(self) -> FastAPI:
        app = FastAPI()
        app.include_router(page.router)
        app.add_route("/health", self._health)
        app.add_route("/props", self._props)
        app.add_route("/v1/chat/completions", self._chat, methods=["POST"])
        return app

    async def _health(self, _: Request) -> Response:
        if self.is_loading:
            return error(503, "the model is being loaded")
        return JSONResponse({"status": "ok"})

    def _refused(self, request: Request) -> Response | None:
        if self.key is None or request.headers.get("authorization") == f"Bearer {self.key}":
            return None
        return error(401, "give a key")

    async def _props(self, request: Request) -> Response:
        await asyncio.sleep(0.1)  # so that a test that asks before the page can fails everywhere
        return self._refused(request) or JSONResponse(self.props)

    async def _chat(self, request: Request) -> Response:
        if (refused := self._refused(request)) is not None:
            return refused
        body = await request.json()
        self.requests.append(body)
        answer = self.script(body, self)
        if isinstance(answer, Response):
            return answer
        return StreamingResponse(self._events(answer), media_type="text/event-stream")

    async def _events(self, chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
        try:
            async for chunk in chunks:
                yield f"data: {json.dumps(chunk)}\n\n"
            yield "data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


def error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message}}, status)
