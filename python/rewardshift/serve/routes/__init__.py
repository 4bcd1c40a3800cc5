"""The handlers: thin, and none waits for the decoder but by ``await``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import chat, completions, health, metrics, models, page, props

if TYPE_CHECKING:
    from fastapi import APIRouter


def all_routers() -> list[APIRouter]:
    """One for each module here that answers requests."""
    return [module.router for module in (chat, completions, health, metrics, models, page, props)]
