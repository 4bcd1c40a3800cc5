"""``GET /health``: whether requests would be answered; it waits for nothing."""

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from rewardshift.serve.errors import UNAVAILABLE, ApiError

from .shared import Serving

router = APIRouter()

_SAID = {"loading": "the model is being loaded"}


@router.get("/health")
@router.get("/v1/health", include_in_schema=False)
async def health(server: Serving) -> Response:
    """200 if requests are answered, 503 while models load, and if the decoder is dead or stuck."""
    status, why = server.health
    told = {
        "status": status,
        "seconds_busy": round(server.worker.seconds_busy, 3),
        "under_way": server.worker.under_way,
    }
    if status == "ok":
        return JSONResponse(told)
    error = ApiError(503, _SAID.get(status, why), UNAVAILABLE, code=status)
    return JSONResponse({**told, **error.as_object()}, 503, headers={"Retry-After": "1"})
