"""``GET /v1/models``."""

from typing import Any

from fastapi import APIRouter

from rewardshift.serve.errors import ApiError

from .shared import Serving

router = APIRouter()


@router.get("/v1/models")
@router.get("/models", include_in_schema=False)
async def models(server: Serving) -> dict[str, Any]:
    """The one model that there is."""
    return {"object": "list", "data": [_described(server)]}


@router.get("/v1/models/{name:path}")
async def model(name: str, server: Serving) -> dict[str, Any]:
    """The same by its name."""
    if name != server.name:
        raise ApiError(404, f"there is no model {name!r}, only {server.name!r}", code="no_model")
    return _described(server)


def _described(server: Serving) -> dict[str, Any]:
    return {
        "id": server.name,
        "object": "model",
        "created": server.created,
        "owned_by": "rewardshift",
        "meta": {
            "n_ctx": server.facts.context_size,
            "n_vocab": len(server.facts.pieces),
            "shifts": list(server.facts.shifts),
        },
    }
