"""An application at a port of this machine, served by a thread."""

from __future__ import annotations

import logging
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from starlette.types import ASGIApp
    from typing_extensions import Self


class Listener:
    """Serves an application for as long as a ``with`` block; may be stopped and started again."""

    def __init__(self, app: ASGIApp) -> None:
        """At a free port, the same each time."""
        self._app = app
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/"

    def start(self) -> None:
        config = uvicorn.Config(
            self._app, port=self._port, ws="none", log_config=None, timeout_graceful_shutdown=1
        )
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # some fail on purpose
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            self._thread.join(0.01)
            assert self._thread.is_alive(), "the server did not start"

    def stop(self) -> None:
        """Ends what is under way, within a second, and listens no longer."""
        self._server.should_exit = True
        self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
