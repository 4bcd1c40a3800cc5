"""Which pages may call the server from a browser: its own, and those of allowed origins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rewardshift.serve.errors import ApiError

from .refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = b"GET, POST, OPTIONS"
_SECONDS = b"600"


class OriginGuard:
    """Refuses what a page of another origin asks, and tells browsers of allowed ones."""

    def __init__(self, app: ASGIApp, *, allowed: Sequence[str]) -> None:
        """Before an application; "*" allows any origin."""
        self._app = app
        self._allowed = {origin.rstrip("/").lower() for origin in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        headers = dict(scope.get("headers", ()))
        origin = headers.get(b"origin")
        if scope["type"] != "http" or origin is None or _is_own(origin, headers):
            await self._app(scope, receive, send)
            return
        if not self._may(origin):
            error = ApiError(
                403,
                "pages of this origin may not ask; --allow-origin lets them",
                "permission_error",
                code="origin_not_allowed",
            )
            await refuse(error, send)
            return
        told = _told(origin, headers.get(b"access-control-request-headers", b""))
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            await send({"type": "http.response.start", "status": 204, "headers": told})
            await send({"type": "http.response.body", "body": b""})
            return

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *told]
            await send(message)

        await self._app(scope, receive, telling)

    def _may(self, origin: bytes) -> bool:
        return "*" in self._allowed or origin.decode("latin-1").lower() in self._allowed


def _is_own(origin: bytes, headers: dict[bytes, bytes]) -> bool:
    """Whether a page of this server asks: its origin is a scheme and the Host."""
    _, _, authority = origin.partition(b"://")
    return bool(authority) and authority.lower() == headers.get(b"host", b"").lower()


def _told(origin: bytes, wanted: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-allow-headers", wanted),
        (b"access-control-max-age", _SECONDS),
        (b"vary", b"Origin"),
    ]
