"""``POST /v1/score``."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from rewardshift.serve.connection import unless_gone
from rewardshift.serve.wire.score import ScoreRequest, score_told

from .shared import Serving, answered

router = APIRouter()


@router.post("/v1/score")
@router.post("/score", include_in_schema=False)
async def score(asked: ScoreRequest, request: Request, server: Serving) -> Response:
    """Log-probabilities of a continuation under the target, each shift and pi*."""
    facts = server.facts
    goal = asked.goal(server.settings, facts)
    found = await unless_gone(
        request.receive, server.ask(lambda decoder: asked.score(decoder, goal))
    )
    return answered(score_told(found, facts, server.name))
