"""``GET /metrics``: for Prometheus; it waits for nothing."""

from fastapi import APIRouter
from starlette.responses import Response

from rewardshift.serve.metrics import CONTENT_TYPE

from .shared import Serving

router = APIRouter()


@router.get("/metrics")
async def metrics(server: Serving) -> Response:
    """What was counted since the start."""
    return Response(server.metrics.text(), media_type=CONTENT_TYPE)
