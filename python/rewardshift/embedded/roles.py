"""What the embedded pair is given as."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - get_type_hints() finds it here
from typing import TypedDict


class Roles(TypedDict):
    """Paths, by the name of ``Decoder``'s argument."""

    target: Path
    reference: Path
    draft_lora: Path
