"""The application as a program: where it listens, and how it ends."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import uvicorn

from .address import listener_at, where_is
from .app import build_app
from .warned import warnings_in_log

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import FrameType

    from rewardshift.decoder import Decoder

    from .address import Address
    from .server import Server
    from .settings import Settings


def run(open_decoder: Callable[[], Decoder], settings: Settings, address: Address) -> None:
    """Serves until a signal ends it.

    Raises:
        OSError: If it cannot listen there; then nothing is loaded.
        Exception: What ``open_decoder`` raises.
    """
    with closing(listener_at(address)) as listener:
        app = build_app(open_decoder, settings)
        server: Server = app.state.server
        _show_log()
        config = uvicorn.Config(
            app,
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
        with warnings_in_log(when=lambda: server.was_ever_open):
            _serve(_Program(config, server), listener)
    if not server.was_ever_open and server.worker.error is not None:
        raise server.worker.error
    if server.worker.is_running:  # in the core, whose threads an interpreter that ends destroys
        sys.stderr.flush()
        os._exit(0)


def _serve(program: _Program, listener: socket.socket) -> None:
    """Until a signal ends it: SIGTERM as it should, so that whoever sent it sees success.

    uvicorn raises the signal again once it has ended, for whoever handled it before.
    """
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        program.run([listener])
    finally:
        signal.signal(signal.SIGTERM, before)


def _show_log() -> None:
    """On stderr, as it is: a line of JSON for each request, and what goes wrong here."""
    logger = logging.getLogger("rewardshift.serve")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Program(uvicorn.Server):
    """Says where it stands, gives up where no model can be loaded, and drains before it closes."""

    def __init__(self, config: uvicorn.Config, server: Server) -> None:
        super().__init__(config)
        self._server = server
        self._began = time.monotonic()
        self._is_ready = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            where = where_is(listener, is_https=self.config.is_ssl)
            _say(f"listening at {where}, loading the models")

    async def on_tick(self, counter: int) -> bool:
        if self._server.was_ever_open and not self._is_ready:
            self._is_ready = True
            _say(f"ready after {time.monotonic() - self._began:.1f} s")
        is_hopeless = self._server.worker.state == "error" and not self._server.was_ever_open
        return is_hopeless or await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends it; more of them make it hurry."""
        if self.should_exit:
            self._server.hurry()
        else:
            super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if answers := self._server.worker.under_way:
            seconds = f"{self._server.settings.drain_seconds:g}"
            those = "1 answer" if answers == 1 else f"{answers} answers"
            _say(f"letting {those} end ({seconds} s at most); once more stops now")
        await self._server.drain()
        # Who does not read what is left to be said is cut off: that is no news to anybody.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def _say(line: str) -> None:
    sys.stderr.write(f"rewardshift: {line}\n")
    sys.stderr.flush()
