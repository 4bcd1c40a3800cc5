"""``GET /slots``: the places in which answers are decoded."""

from typing import Any

from fastapi import APIRouter

from rewardshift.serve.errors import unavailable

from .shared import Serving

router = APIRouter()


@router.get("/slots")
async def slots(server: Serving, fail_on_no_slot: bool = False) -> list[dict[str, Any]]:
    """Which places are taken. A request keeps to no place: which it has says nothing of it."""
    facts = server.facts
    taken = server.processing
    if fail_on_no_slot and taken == facts.places:
        raise unavailable("no place is free", "no_slot")
    return [
        {
            "id": place,
            "n_ctx": facts.context_size,
            "speculative": facts.can_draft,
            "is_processing": place < taken,
        }
        for place in range(facts.places)
    ]
