"""The handlers: thin, and none waits for the decoder but by ``await``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import (
    chat,
    completions,
    health,
    llama,
    metrics,
    models,
<<<<<<< HEAD
    page,
=======
>>>>>>> serve-hard
    props,
    responses,
    score,
    slots,
    tokens,
)

if TYPE_CHECKING:
    from fastapi import APIRouter


def all_routers() -> list[APIRouter]:
    """One for each module here that answers requests."""
    modules = (
<<<<<<< HEAD
        *(chat, completions, health, llama, metrics, models, page),
=======
        *(chat, completions, health, llama, metrics, models),
>>>>>>> serve-hard
        *(props, responses, score, slots, tokens),
    )
    return [module.router for module in modules]
