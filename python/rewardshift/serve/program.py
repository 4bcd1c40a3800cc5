"""The application as a program: where it listens, and how it ends."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvicorn

from .app import build_app

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from rewardshift.decoder import Decoder

    from .server import Server
    from .settings import Settings

_POLL = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen: at a port, or at a unix socket; by HTTPS with a key and a certificate."""

    host: str = "127.0.0.1"
    port: int = 8080
    uds: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_certfile: Path | None = None


def run(open_decoder: Callable[[], Decoder], settings: Settings, address: Address) -> None:
    """Serves until a signal ends it.

    Raises:
        Exception: What ``open_decoder`` raises.
    """
    app = build_app(open_decoder, settings)
    server: Server = app.state.server
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        uds=None if address.uds is None else str(address.uds),
        ssl_keyfile=None if address.ssl_keyfile is None else str(address.ssl_keyfile),
        ssl_certfile=None if address.ssl_certfile is None else str(address.ssl_certfile),
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    _Program(config, server).run()
    if not server.was_ever_open and server.worker.error is not None:
        raise server.worker.error


class _Program(uvicorn.Server):
    """Says where it listens, gives up where no model can be loaded, and drains before it closes."""

    def __init__(self, config: uvicorn.Config, server: Server) -> None:
        super().__init__(config)
        self._server = server

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            sys.stderr.write(f"rewardshift: serving at {self._where()}\n")
            sys.stderr.flush()

    async def on_tick(self, counter: int) -> bool:
        is_hopeless = self._server.worker.state == "error" and not self._server.was_ever_open
        return is_hopeless or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        draining = asyncio.ensure_future(self._server.drain())
        while not (draining.done() or self.force_exit):
            await asyncio.sleep(_POLL)
        draining.cancel()
        await super().shutdown(sockets)

    def _where(self) -> str:
        if self.config.uds:
            return self.config.uds
        scheme = "https" if self.config.is_ssl else "http"
        host, port = self.servers[0].sockets[0].getsockname()[:2]
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
