"""A grammar of calls only: what ``tool_choice`` "required" and a named function admit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rewardshift.grammar import schema_text

if TYPE_CHECKING:
    from .formats import ToolFormat
    from .offer import Function, Offer


def grammar_of_calls(form: ToolFormat, offer: Offer) -> str:
    """The calls of a format, in llguidance's Lark: one or more, exactly one where so asked for.

    Arguments are what each function's schema says.

    Args:
        form: Of the model's chat template.
        offer: What may be called.
    """
    calls = range(len(offer.functions))
    several = form.between is not None and offer.is_parallel
    more = f"({_text(form.between or '')} call)*" if several else ""
    lines = [
        f"start: {_text(form.before)} call {more} {_text(form.after)}",
        f"call: {' | '.join(f'call_{i}' for i in calls)}",
    ]
    for i, function in enumerate(offer.functions):
        lines += _rules(form, function, i)
    return "\n".join(lines) + "\n"


def _rules(form: ToolFormat, function: Function, number: int) -> list[str]:
    opening = form.opening.replace("NAME", function.name)
    return [
        f"call_{number}: {_text(opening)} arguments_{number} {_text(form.closing)}",
        f"arguments_{number}: %json {schema_text(function.parameters)}",
    ]


def _text(text: str) -> str:
    """As Lark quotes it; nothing for no text."""
    return json.dumps(text) if text else ""
