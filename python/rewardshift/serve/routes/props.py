"""``GET /props``: what llama-server tells of its model, and our dials."""

from typing import Any

from fastapi import APIRouter

from rewardshift import _core
from rewardshift.dials.catalogue import dial_named

from .shared import Serving

router = APIRouter()


@router.get("/props")
async def props(server: Serving) -> dict[str, Any]:
    """What is served, and what requests are decoded with unless they say otherwise."""
    facts = server.facts
    return {
        "model_alias": server.name,
        "model_path": facts.file,
        "chat_template": facts.chat_template,
        "n_ctx": facts.context_size,
        "total_slots": facts.places,
        "default_generation_settings": {
            "n_ctx": facts.context_size,
            "params": _defaults(server),
        },
        "build_info": f"rewardshift {_core.version}",
        "shifts": [
            {"name": name, "strength": shift.strength, "description": _description(name)}
            for name, shift in facts.shifts.items()
        ],
        "vocab_size": len(facts.pieces),
        "draft": facts.can_draft,
        "end_of_generation": sorted(facts.end_of_generation),
    }


_SHOWN = (
    *("temperature", "top_k", "top_p", "min_p", "repeat_penalty", "frequency_penalty"),
    *("presence_penalty", "penalty_last_n", "num_draft_tokens", "tree_width"),
)


def _defaults(server: Serving) -> dict[str, Any]:
    core = _core.RequestParams()
    told = {name: getattr(core, name) for name in _SHOWN}
    told["max_tokens"] = max(server.facts.context_size // 4, 1)
    return {**told, **server.settings.defaults}


def _description(name: str) -> str | None:
    try:
        return dial_named(name).does
    except ValueError:  # a pair of the user's own
        return None
