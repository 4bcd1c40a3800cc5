"""Calls of tools: what a chat template's models write, read as they write it, and held to it.

``format_of`` tells from a chat template how its models call functions. A format makes a parser,
which splits a response into content and calls while it grows, and a grammar, which admits calls
only.
"""

from __future__ import annotations

from .events import ArgumentsDelta, CallStart, ContentDelta, Event
from .formats import ToolFormat, format_of
from .offer import Function, Offer, offer_of
from .parser import ToolParser

__all__ = [
    "ArgumentsDelta",
    "CallStart",
    "ContentDelta",
    "Event",
    "Function",
    "Offer",
    "ToolFormat",
    "ToolParser",
    "format_of",
    "offer_of",
]
