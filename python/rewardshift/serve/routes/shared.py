"""What handlers need of a request, and how they answer it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request
from starlette.responses import JSONResponse

from rewardshift.files.json_values import plain
from rewardshift.serve.server import Server

if TYPE_CHECKING:
    from starlette.responses import Response


def _server_of(request: Request) -> Server:
    return cast("Server", request.app.state.server)


Serving = Annotated[Server, Depends(_server_of)]
"""The server, as a handler's parameter."""


def answered(value: object) -> Response:
    """A value as JSON; numbers that it cannot have become null."""
    return JSONResponse(plain(value))
