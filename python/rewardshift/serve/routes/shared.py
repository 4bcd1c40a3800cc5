"""What handlers need of a request, and how they answer it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends, Request
from starlette.responses import Response

from rewardshift.files.json_values import plain
from rewardshift.serve.server import Server
from rewardshift.serve.sse import EventStream

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from rewardshift.serve.job import Job
    from rewardshift.serve.sse import Event


def _server_of(request: Request) -> Server:
    return cast("Server", request.app.state.server)


Serving = Annotated[Server, Depends(_server_of)]
"""The server, as a handler's parameter."""


def answered(value: object) -> Response:
    """A value as JSON; numbers that it cannot have become null.

    In ASCII, as it may repeat what was asked, and halves of pairs have no bytes otherwise.
    """
    return Response(json.dumps(plain(value)), media_type="application/json")


def told(events: AsyncGenerator[Event, None], job: Job, server: Server) -> EventStream:
    """A job's events as they come; its places are free once the client has left."""
    keep_alive = server.settings.keep_alive_seconds
    return EventStream(events, let_go=job.cancel, keep_alive=keep_alive)
