"""What all requests' models have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from rewardshift.serve.errors import wrong

if TYPE_CHECKING:
    from rewardshift.serve.settings import Settings


class Fields(BaseModel):
    """A request's JSON. Values are of the types that are named: no text is taken for a number."""

    model_config = ConfigDict(extra="allow", strict=True)

    def require_known(self, settings: Settings) -> None:
        """Raises ApiError for a field that is not known, where the server is strict."""
        if settings.strict and self.model_extra:
            name = next(iter(self.model_extra))
            raise wrong(f"unknown field {name!r}; this server is strict", name, "unknown_field")
