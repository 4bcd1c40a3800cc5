"""The ASGI application."""

from __future__ import annotations

import json
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from rewardshift import _core

from .errors import GONE, ApiError, ClientGoneError, api_error_of, wrong
from .guard.body import BodyGuard
from .guard.host import HostGuard
from .guard.keys import KeyGuard
from .guard.origin import OriginGuard
from .guard.recorder import Recorder
from .record import current
from .routes import all_routers
from .server import Server
from .settings import Settings
from .wire.error import ErrorAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from rewardshift.decoder import Decoder

_logger = logging.getLogger("rewardshift.serve")


def build_app(open_decoder: Callable[[], Decoder], settings: Settings | None = None) -> FastAPI:
    """The application that ``rewardshift serve`` runs, for any ASGI server of one process.

    Args:
        open_decoder: Makes the decoder, in a thread of the application's own, when it starts;
            until then requests are answered with 503.
        settings: How it behaves.

    Example:
        >>> from rewardshift import Decoder
        >>> app = build_app(lambda: Decoder("big.gguf", shift="positive"), Settings(alias="big"))
        >>> app.title
        'rewardshift'
    """
    chosen = settings or Settings()
    server = Server(open_decoder, chosen)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        server.worker.start()
        try:
            yield
        finally:
            await server.close()

    app = FastAPI(
        title="rewardshift",
        version=_core.version,
        lifespan=life,
        docs_url=None,  # FastAPI's come from another host
        redoc_url=None,
        responses={"default": {"model": ErrorAnswer, "description": "An error"}},
    )
    app.state.server = server
    paths: set[str] = set()
    for router in all_routers():
        app.include_router(router)
        paths |= {getattr(route, "path", "") for route in router.routes}
    app.add_exception_handler(ApiError, _as_error)
    app.add_exception_handler(ClientGoneError, _as_nothing)
    app.add_exception_handler(RequestValidationError, _as_validation)
    app.add_exception_handler(HTTPException, _as_http)
    app.add_exception_handler(Exception, _as_surprise)
    app.add_middleware(BodyGuard, max_bytes=chosen.max_body_bytes, max_depth=chosen.max_json_depth)
    app.add_middleware(KeyGuard, keys=chosen.api_keys)
    app.add_middleware(OriginGuard, allowed=chosen.allowed_origins)
    app.add_middleware(HostGuard, allowed=chosen.allowed_hosts)
    app.add_middleware(
        Recorder,
        ended=lambda record: server.metrics.request_ended(
            record, record.path if record.path in paths else "other"
        ),
    )
    return app


async def _as_error(_: Request, error: Exception) -> Response:
    return _response(api_error_of(error))


async def _as_surprise(_: Request, error: Exception) -> Response:
    _logger.error("a handler has failed", exc_info=error)
    return _response(api_error_of(error))


async def _as_nothing(_: Request, __: Exception) -> Response:
    """For the log: nobody reads it."""
    current().error = GONE
    return Response(status_code=499)


async def _as_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - or it would not be registered so
    said = str(error.detail)
    if said == "Not Found":
        said = f"there is no endpoint {request.url.path}; see /docs"
    return _response(ApiError(error.status_code, said, headers=dict(error.headers or {})))


async def _as_validation(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - likewise
    found = error.errors()
    # A field of several types has an error for each: the deepest says most.
    first = max((e for e in found if e["loc"][:2] == found[0]["loc"][:2]), key=_depth)
    if first["type"] == "json_invalid":
        return _response(wrong(f"the body is no JSON: {first['ctx']['error']}", code="not_json"))
    where = _place(first, error.body)
    message = f"{'.'.join(where)}: {first['msg']}" if where else str(first["msg"])
    return _response(wrong(message, where[0] if where else None))


def _depth(error: Any) -> int:  # noqa: ANN401 - pydantic's
    return len(error["loc"])


def _place(error: Any, body: Any) -> list[str]:  # noqa: ANN401
    """Where in a body an error is, without the names of types that pydantic puts between."""
    place: list[str] = []
    for part in error["loc"][1:]:
        try:
            body = body[part]
        except (KeyError, IndexError, TypeError):
            if error["type"] != "missing":
                continue
        place.append(str(part))
    return place


def _response(error: ApiError) -> Response:
    current().error = error.kind
    body = json.dumps(error.as_object())  # in ASCII: it may repeat what was asked
    return Response(body, error.status, headers=error.headers, media_type="application/json")
