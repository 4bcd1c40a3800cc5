"""Who may ask: bearer keys."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from rewardshift.serve.errors import ApiError

from .refusal import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.types import ASGIApp, Receive, Scope, Send

OPEN = frozenset(("/", "/docs", "/health", "/v1/health", "/favicon.ico"))
OPEN_BELOW = "/page/"


class KeyGuard:
    """Asks for one of the keys, but for health and the pages."""

    def __init__(self, app: ASGIApp, *, keys: Sequence[bytes]) -> None:
        """Before an application; without keys it is open."""
        self._app = app
        self._keys = tuple(keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or self._is_open(scope) or self._is_known(scope):
            await self._app(scope, receive, send)
            return
        error = ApiError(
            401,
            "give one of the server's keys, as `Authorization: Bearer KEY`",
            "authentication_error",
            code="invalid_api_key",
            headers={"WWW-Authenticate": "Bearer"},
        )
        await refuse(error, send)

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        return not self._keys or path in OPEN or path.startswith(OPEN_BELOW)

    def _is_known(self, scope: Scope) -> bool:
        """All keys are compared, each in constant time: no answer comes sooner than another."""
        given = _given(scope)
        found = [hmac.compare_digest(given, key) for key in self._keys]
        return any(found)


def _given(scope: Scope) -> bytes:
    headers = dict(scope["headers"])
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return bytes(key.strip())
    return bytes(headers.get(b"x-api-key", b""))
