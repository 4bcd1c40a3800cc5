"""What all requests' models have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from rewardshift.serve.errors import wrong

from .words import describe

if TYPE_CHECKING:
    from rewardshift.serve.settings import Settings

OPENAIS = frozenset(
    (
        *("user", "service_tier", "store", "metadata", "reasoning_effort", "verbosity"),
        *("safety_identifier", "prompt_cache_key", "prompt_cache_retention", "modalities"),
        "prediction",
    )
)
"""Fields of OpenAI's that change nothing here."""


class Fields(BaseModel):
    """A request's JSON. Values are of the types that are named: no text is taken for a number."""

    model_config = ConfigDict(extra="allow", strict=True, json_schema_extra=describe)

    def require_known(self, settings: Settings) -> None:
        """Raises ApiError for a field that is not known, where the server is strict."""
        unknown = (name for name in self.model_extra or () if name not in OPENAIS)
        if settings.strict and (name := next(unknown, None)) is not None:
            raise wrong(f"unknown field {name!r}; this server is strict", name, "unknown_field")
