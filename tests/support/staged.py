"""An application over a decoder whose steps wait for leave."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from rewardshift.serve import Settings, build_app

from .engine import EXACT
from .exchange import Exchange, living, until
from .gated import GatedDecoder
from .served import VOCAB
from .tiny_gguf import CHATML_TEMPLATE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from tests.conftest import Files

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"


class Stage:
    """An application over a gated decoder.

    Attributes:
        app: It.
        made: The decoders that were opened, the latest last.
    """

    def __init__(self, files: Files, settings: dict[str, Any], options: dict[str, Any]) -> None:
        self.made: list[GatedDecoder] = []
        self._files = files
        self._options = {**EXACT, "n_ctx": 512, **options}
        self.app: FastAPI = build_app(self._open, Settings(**{"drain_seconds": 0, **settings}))
        self.server = self.app.state.server

    def _open(self) -> GatedDecoder:
        model = self._files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE, n_ctx_train=4096)
        self.made.append(GatedDecoder(model.path, **self._options))
        return self.made[-1]

    @property
    def decoder(self) -> GatedDecoder:
        return self.made[-1]

    def ask(self, path: str = COMPLETIONS, **fields: Any) -> Exchange:
        asked = {"prompt": "ab", "max_tokens": 8, "ignore_eos": True, **fields}
        return Exchange(self.app, path, asked)

    async def at_gate(self) -> None:
        """Until the first step waits for leave."""
        await until(lambda: self.decoder.arrivals > 0)

    async def take(self, steps: int) -> None:
        """Takes so many steps, until the next one waits."""
        wanted = self.decoder.arrivals + steps
        self.decoder.let(steps)
        await until(lambda: self.decoder.arrivals >= wanted)

    async def health(self) -> tuple[int, Any]:
        exchange = Exchange(self.app, "/health")
        return await exchange.status(), await exchange.json()


@asynccontextmanager
async def staged(
    files: Files, *, options: dict[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Stage]:
    stage = Stage(files, settings, options or {})
    async with living(stage.app):
        await until(lambda: stage.server.worker.state == "ok")
        try:
            yield stage
        finally:
            stage.decoder.open_gate()
