"""``GET /`` and ``/docs``: the pages, and the files that they are made of.

The page is plain text, styles and modules: nothing is built, and nothing comes from another host.
Its files are open to everybody; what it asks the server for is not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

router = APIRouter(include_in_schema=False)

POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'"),
        *("connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
"""Nothing inline, nothing from elsewhere, and no text that becomes markup or code."""

_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # kept, but asked for: a new version shows at once
}

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


@cache
def _page() -> dict[str, _File]:
    """The files by name; no path of a request ever reaches the file system."""
    found = {}
    for file in files("rewardshift.serve").joinpath("page").iterdir():
        media_type = _TYPES.get(file.name.rpartition(".")[2])
        if media_type is not None:
            content = file.read_bytes()
            etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
            found[file.name] = _File(content, media_type, etag)
    return found


@router.get("/")
async def index(request: Request) -> Response:
    """The page itself."""
    return _response(_page()["index.html"], request)


@router.get("/docs")
async def interface(request: Request) -> Response:
    """What the server answers; the description that this shows is not open to everybody."""
    return _response(_page()["interface.html"], request)


@router.get("/page/{name}")
async def part(name: str, request: Request) -> Response:
    """A file that it is made of."""
    file = _page().get(name)
    if file is None:
        raise HTTPException(404, f"the page has no file {name!r}")
    return _response(file, request)


@router.get("/favicon.ico")
async def icon(request: Request) -> Response:
    """What browsers ask for of their own accord."""
    return _response(_page()["icon.svg"], request)


def _response(file: _File, request: Request) -> Response:
    headers = {**_HEADERS, "ETag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)
