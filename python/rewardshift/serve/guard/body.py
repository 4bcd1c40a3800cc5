"""How large a body may be, and how deeply its JSON may be nested."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rewardshift.serve.errors import ApiError, wrong

from .refusal import refuse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ALL_ELSE = bytes(byte for byte in range(256) if byte not in b'"[]{}')
_STEPS = np.zeros(256, np.int8)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1


class BodyGuard:
    """Reads a body whole, as far as it may be, and hands it on in one piece."""

    def __init__(self, app: ASGIApp, *, max_bytes: int, max_depth: int) -> None:
        """Before an application."""
        self._app = app
        self._max_bytes = max_bytes
        self._max_depth = max_depth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(scope, receive)
            if body is None:
                return  # the client has left
            if not is_within_depth(body, self._max_depth):
                raise wrong(f"JSON may be nested {self._max_depth} deep at most", code="json_depth")
        except ApiError as error:
            await refuse(error, send)
            return
        await self._app(_as_json(scope), _replayed(body, receive), send)

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        told = dict(scope["headers"]).get(b"content-length", b"0")
        if told.isdigit() and int(told[:20]) > self._max_bytes:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._max_bytes:
                raise self._too_large()
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self) -> ApiError:
        return ApiError(
            413,
            f"a request may have {self._max_bytes} bytes at most",
            code="body_too_large",
            headers={"Connection": "close"},
        )


def _as_json(scope: Scope) -> Scope:
    """A request whose body is JSON, whatever it says it is: curl's ``-d`` says it is a form."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-type"]
    return {**scope, "headers": [*headers, (b"content-type", b"application/json")]}


def _replayed(body: bytes, receive: Receive) -> Receive:
    is_given = False

    async def again() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def is_within_depth(body: bytes, most: int) -> bool:
    """Whether JSON has at most so many arrays and objects inside each other.

    What is no JSON may be said to be within it where it is not; whoever parses it finds out.
    """
    unescaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    marks = np.frombuffer(unescaped.translate(None, _ALL_ELSE), np.uint8)
    is_inside = np.logical_xor.accumulate(marks == ord('"'))  # of a string
    steps = np.where(is_inside, 0, _STEPS[marks])
    return int(np.cumsum(steps, dtype=np.int32).max(initial=0)) <= most
