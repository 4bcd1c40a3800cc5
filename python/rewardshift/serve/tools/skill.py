"""What a model can do with tools: its format, and the control tokens that this takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .formats import format_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rewardshift.decoder import Decoder

    from .formats import ToolFormat


@dataclass(frozen=True, slots=True)
class ToolSkill:
    """Of one decoder's target.

    Attributes:
        format: In which its chat template has it call functions; None where that is not known.
        marks: The control tokens among the format's marks, with what they are written as.
    """

    format: ToolFormat | None = None
    marks: Mapping[int, bytes] = field(default_factory=dict)

    @classmethod
    def of(cls, decoder: Decoder) -> ToolSkill:
        """Asks the decoder, which must be at hand."""
        form = format_of(decoder.chat_template or "")
        if form is None:
            return cls()
        spelled = [decoder.tokenize(mark, add_special=False) for mark in form.marks]
        single = [ids[0] for ids in spelled if len(ids) == 1]
        control = [token for token in single if not decoder.piece(token)]
        return cls(form, {token: decoder.piece(token, special=True) for token in control})
