"""Splits a response into content and calls of functions, while it grows."""

from __future__ import annotations

import json
import secrets
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .events import ArgumentsDelta, CallStart, ContentDelta, joined
from .scanner import Scanner

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .events import Event
    from .scanner import Reading

_ALPHABET = string.ascii_letters + string.digits
_ID_LENGTH = 9
_ASIDE = ("id", "type")
"""What an object may have before it is known to be a call."""


def new_id() -> str:
    """Nine letters and digits: what Mistral's templates insist on, and all others take."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))


@dataclass(slots=True)
class _Found:
    """What is known so far of a call that is an object."""

    name: str | None = None
    arguments: str | None = None
    has_begun: bool = False


class ToolParser(Scanner):
    """Of one response, in one format: a subclass says in ``read`` what that looks like.

    A call begins once its function is known, which must be one of those offered, and its arguments
    have begun, which must be an object. What does not get that far is content, word for word. What
    has begun stays a call: where its arguments then break off, or are no JSON, they end there, and
    the rest is content. White space around calls is layout, and dropped; nothing else is lost.

    The events joined do not depend on how the text is cut into pieces. Nothing is ever raised.
    """

    def __init__(self, names: Collection[str], *, make_id: Callable[[], str] = new_id) -> None:
        """Of a response that may call these functions.

        Args:
            names: Of the functions.
            make_id: Makes the next call's id.
        """
        super().__init__()
        self.calls = 0
        self._names = frozenset(names)
        self._make_id = make_id
        self._events: list[Event] = []
        self._reading = self._read_all()
        next(self._reading)

    def feed(self, text: str) -> list[Event]:
        """What is known with this text, which follows the text before."""
        for character in text:
            self._reading.send(character)
        return self._take()

    def finish(self) -> list[Event]:
        """What is known as no text follows."""
        self._reading.send("")
        return self._take()

    def read(self) -> Reading[None]:
        """Reads the response, to its end or to where there is only content."""
        raise NotImplementedError

    # --- for subclasses -------------------------------------------------------------------------

    def give_up(self) -> None:
        """What is held is content."""
        if self.held:
            self._events.append(ContentDelta("".join(self.held)))
            self.held.clear()

    def drop(self) -> None:
        """What is held is part of a call, or its layout."""
        self.held.clear()

    def content(self) -> Reading[None]:
        """Takes one character, and what is held before it, as content."""
        self.give_up()
        self._events.append(ContentDelta(self.current))
        self.current = yield

    def rest(self) -> Reading[None]:
        """Takes the rest as content."""
        self.give_up()
        while self.current:
            yield from self.content()

    def call_object(self, *arguments_keys: str) -> Reading[bool]:
        """Takes a call that is an object with a name and arguments.

        Args:
            *arguments_keys: What the arguments may be called.
        """
        found = _Found()
        if not (yield from self.literal("{")):
            return False
        while True:
            yield from self.spaces()
            if not (yield from self._member_of_call(found, arguments_keys)):
                return False
            yield from self.spaces()
            if self.current != ",":
                return found.has_begun and (yield from self.literal("}"))
            yield from self.advance()

    def arguments(self, name: str) -> Reading[bool]:
        """Takes the arguments of a call of this function, which begins here, if it is offered."""
        if name not in self._names or self.current != "{":
            return False
        index = self._begin(name)
        self.sink = lambda text: self._events.append(ArgumentsDelta(index, text))
        is_whole = yield from self.object()
        self.sink = None
        return is_whole

    # --- how it is done -------------------------------------------------------------------------

    def _begin(self, name: str) -> int:
        """Begins a call; what is held is part of it."""
        self.drop()
        self._events.append(CallStart(self.calls, self._make_id(), name))
        self.calls += 1
        return self.calls - 1

    def _member_of_call(self, found: _Found, arguments_keys: Collection[str]) -> Reading[bool]:
        key = yield from self._text()
        yield from self.spaces()
        if key is None or not (yield from self.literal(":")):
            return False
        yield from self.spaces()
        if key == "name" and found.name is None:
            found.name = yield from self._text()
            fits = found.name in self._names
        elif key in arguments_keys and found.arguments is None:
            fits = yield from self._arguments_in(found)
        elif found.has_begun or key in _ASIDE:  # else it is no call: its text shall not wait
            fits = yield from self.value(1)
        else:
            return False
        if fits and found.name and found.arguments and not found.has_begun:
            found.has_begun = True
            self._events.append(ArgumentsDelta(self._begin(found.name), found.arguments))
        return fits

    def _arguments_in(self, found: _Found) -> Reading[bool]:
        """Takes the arguments: those of a call, if its name is known, else they are held."""
        if found.name is not None:
            found.has_begun, found.arguments = True, ""
            return (yield from self.arguments(found.name))
        at = len(self.held)
        fits = yield from self.object()
        found.arguments = "".join(self.held[at:])
        return fits

    def _text(self) -> Reading[str | None]:
        """Takes a string, and returns what it says."""
        at = len(self.held)
        if not (yield from self.string()):
            return None
        found: str = json.loads("".join(self.held[at:]))
        return found

    def _read_all(self) -> Reading[None]:
        self.current = yield
        yield from self.read()
        yield from self.rest()
        while True:  # nothing follows the end
            yield

    def _take(self) -> list[Event]:
        events, self._events = self._events, []
        return joined(events)
