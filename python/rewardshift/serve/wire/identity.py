"""What every answer says of itself."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from rewardshift import _core


@dataclass(frozen=True, slots=True)
class Identity:
    """An answer's id, time and model, the same in each of its chunks."""

    prefix: str
    model: str
    created: int = field(default_factory=lambda: int(time.time()))
    number: str = field(default_factory=lambda: secrets.token_hex(12))

    def head(self, kind: str) -> dict[str, Any]:
        """The fields that come first.

        Args:
            kind: OpenAI's name of the object.
        """
        return {
            "id": f"{self.prefix}-{self.number}",
            "object": kind,
            "created": self.created,
            "model": self.model,
            "system_fingerprint": f"build-{_core.version}",
        }
