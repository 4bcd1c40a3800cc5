"""By which names the server may be addressed: a page elsewhere must not reach it by its own."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from rewardshift.serve.errors import ApiError

from .refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send


class HostGuard:
    """Refuses requests whose Host is another name than those of this machine, or allowed.

    Addresses are no names: whoever can make a browser send one to here knows it already.
    """

    def __init__(self, app: ASGIApp, *, allowed: Sequence[str]) -> None:
        """Before an application.

        Args:
            app: The application.
            allowed: Names beside localhost; "*" is any.
        """
        self._app = app
        self._allowed = {name.lower().rstrip(".") for name in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or self._may(dict(scope["headers"]).get(b"host", b"")):
            await self._app(scope, receive, send)
            return
        error = ApiError(
            403,
            "the server does not answer to this Host; --allow-host lets it",
            "permission_error",
            code="host_not_allowed",
        )
        await refuse(error, send)

    def _may(self, host: bytes) -> bool:
        name = host_name(host.decode("latin-1"))
        if name == "localhost" or name.endswith(".localhost") or "*" in self._allowed:
            return True
        return name in self._allowed or _is_address(name)


def host_name(host: str) -> str:
    """The name in a Host header, or in the authority of a URL: without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if host.count(":") == 1 else host.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
