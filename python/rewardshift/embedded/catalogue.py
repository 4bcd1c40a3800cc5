"""The shifts that come with the package, for people to choose from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import ready_made_shift

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class ReadyMade:
    """A shift that ``Decoder(target, shift=name)`` knows by its name.

    Attributes:
        name: Its name.
        does: What a target says more often with it.
        targets: For which models it was made.
        licence: Of its files.
        card: The file that says how it was made, what it was measured to do, and its limits.
    """

    name: str
    does: str
    targets: str
    licence: str
    card: Path

    @property
    def size(self) -> int:
        """Bytes of its files."""
        shift = ready_made_shift(self.name)
        files = (shift.draft, shift.reference, shift.lora)
        return sum(Path(str(file)).stat().st_size for file in files if file is not None)


READY_MADE = (
    ReadyMade(
        name="positive",
        does="sounds positive",
        targets="SmolLM2-135M-Instruct; others, of any vocabulary, were not measured",
        licence="Apache-2.0",
        card=_HERE / "MODEL_CARD.md",
    ),
)
"""All of them."""
