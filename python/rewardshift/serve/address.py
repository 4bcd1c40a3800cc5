"""Where a server listens."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_BACKLOG = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to listen: at a port, or at a unix socket; by HTTPS with a key and a certificate."""

    host: str = "127.0.0.1"
    port: int = 8080
    uds: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_certfile: Path | None = None


def listener_at(address: Address) -> socket.socket:
    """A socket that listens there.

    Raises:
        OSError: If it cannot; it says where.
    """
    try:
        if address.uds is not None:
            return _at_file(address.uds)
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        family, _, _, _, place = found[0]
        return socket.create_server(place, family=family, backlog=_BACKLOG)
    except OSError as error:
        where = address.uds or f"{address.host}:{address.port}"
        code = error.errno or 0
        why = os.strerror(code) if code > 0 else str(error)
        raise OSError(f"cannot listen at {where}: {why}") from error


def where_is(listener: socket.socket, *, is_https: bool) -> str:
    """The URL of a listener, or its file."""
    name = listener.getsockname()
    if isinstance(name, str):
        return name
    host, port = name[:2]
    return f"http{'s' * is_https}://{f'[{host}]' if ':' in host else host}:{port}"


def _at_file(path: Path) -> socket.socket:
    """At a unix socket, which only its owner may write to; one that nobody serves is replaced."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not _is_served(path):
            path.unlink()
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) == 0
