"""What a parser of calls finds in a response."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContentDelta:
    """Text that belongs to no call."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStart:
    """A call begins: its function is known, its arguments follow.

    Attributes:
        index: Of the call in its response, from 0.
        id: By which a tool's answer names it.
        name: Of the function.
    """

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class ArgumentsDelta:
    """More of the JSON text of a call's arguments."""

    index: int
    text: str


Event = ContentDelta | CallStart | ArgumentsDelta


def joined(events: list[Event]) -> list[Event]:
    """The same events, with neighbours that go on with each other in one."""
    found: list[Event] = []
    for event in events:
        last = found[-1] if found else None
        if isinstance(event, ContentDelta) and isinstance(last, ContentDelta):
            found[-1] = ContentDelta(last.text + event.text)
        elif (
            isinstance(event, ArgumentsDelta)
            and isinstance(last, ArgumentsDelta)
            and event.index == last.index
        ):
            found[-1] = ArgumentsDelta(last.index, last.text + event.text)
        else:
            found.append(event)
    return found
