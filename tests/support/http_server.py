"""Applications behind real sockets: uvicorn in a thread, and the command in a process."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn

import rewardshift

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator

    from fastapi import FastAPI


@contextmanager
def listening(app: FastAPI, port: int = 0) -> Iterator[tuple[str, int]]:
    """Serves an application in a thread; gives host and port, any that is free for 0."""
    listener = socket.create_server(("127.0.0.1", port))
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield listener.getsockname()[:2]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


class Command:
    """``rewardshift serve`` in a process of its own.

    Attributes:
        url: Where it serves, once it does; the file of its socket, where it is one.
        lines: What it said on stderr so far.
    """

    def __init__(self, *words: object, environment: dict[str, str] | None = None) -> None:
        """Starts it; the words are its arguments."""
        package = str(Path(rewardshift.__file__).parents[1])
        self.lines: list[str] = []
        self.url = ""
        self._serves = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rewardshift.cli", "serve", *map(str, words)],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": package, **(environment or {})},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(r"listening at (\S+),", line):
                self.url = found[1]
                self._serves.set()
        self._serves.set()

    def wait_for_url(self) -> str:
        """Where it serves."""
        assert self._serves.wait(60)
        assert self.url, self.lines
        return self.url

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """Sends it one."""
        self._process.send_signal(number)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        code = self._process.wait(60)
        self._reader.join()
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code

    def __enter__(self) -> Command:
        """The command itself."""
        return self

    def __exit__(self, *_: Any) -> None:
        """Ends it, however it stands."""
        self._process.kill()
        self.wait()
