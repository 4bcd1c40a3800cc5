"""An error as an answer, below the application."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rewardshift.serve.record import current

if TYPE_CHECKING:
    from starlette.types import Send

    from rewardshift.serve.errors import ApiError


async def refuse(error: ApiError, send: Send) -> None:
    """Sends it."""
    current().error = error.kind
    body = json.dumps(error.as_object()).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in error.headers.items()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
