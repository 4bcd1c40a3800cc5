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
    page,
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
        *(chat, completions, health, llama, metrics, models, page),
        *(props, responses, score, slots, tokens),
    )
    return [module.router for module in modules]
