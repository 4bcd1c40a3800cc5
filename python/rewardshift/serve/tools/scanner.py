"""Reads a text that comes in pieces, character by character, as grammars are written down.

Each reading method is a generator that waits for the next character with ``yield``; ``current`` is
the one that is looked at, empty at the end of the text. How the text was cut into pieces can
therefore make no difference.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")
Reading = Generator[None, str, T]
"""What a reading method returns, once the characters came that it waited for."""

SPACE = frozenset(" \t\n\r")
"""White space, as JSON has it."""
_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdefABCDEF")
_ESCAPES = frozenset('"\\/bfnrt')
_DEEPEST = 64
"""Brackets within each other; what is nested deeper is not taken for JSON."""


class Scanner:
    """What has been read since the last decision, and ways to read on.

    What is read goes to ``held``, or to a sink while there is one. A method that returns False has
    stopped at the first character that does not fit.
    """

    def __init__(self) -> None:
        """Before the first character, which ``current`` has to be given."""
        self.current = ""
        self.held: list[str] = []
        self.sink: Callable[[str], None] | None = None

    def advance(self) -> Reading[None]:
        """Takes the current character and looks at the next."""
        (self.sink or self.held.append)(self.current)
        self.current = yield

    def spaces(self) -> Reading[None]:
        """Takes all white space that follows."""
        while self.current in SPACE:
            yield from self.advance()

    def literal(self, text: str) -> Reading[bool]:
        """Takes this text."""
        for character in text:
            if self.current != character:
                return False
            yield from self.advance()
        return True

    def one_of(self, characters: frozenset[str]) -> Reading[bool]:
        """Takes one of these characters."""
        if self.current not in characters:
            return False
        yield from self.advance()
        return True

    # --- JSON, as RFC 8259 has it ----------------------------------------------------------------

    def value(self, depth: int = 0) -> Reading[bool]:
        """Takes a value."""
        if self.current == "{":
            return (yield from self.object(depth))
        if self.current == "[":
            return (yield from self._array(depth))
        if self.current == '"':
            return (yield from self.string())
        for word in ("true", "false", "null"):
            if self.current == word[0]:
                return (yield from self.literal(word))
        return (yield from self._number())

    def object(self, depth: int = 0) -> Reading[bool]:
        """Takes an object."""
        return (yield from self._listed("{", self._member, "}", depth))

    def string(self) -> Reading[bool]:
        """Takes a string."""
        if not (yield from self.literal('"')):
            return False
        while self.current != '"':
            if self.current == "\\":
                if not (yield from self._escape()):
                    return False
            elif self.current < " ":  # the end of the text, too
                return False
            else:
                yield from self.advance()
        yield from self.advance()
        return True

    def _member(self, depth: int) -> Reading[bool]:
        if not (yield from self.string()):
            return False
        yield from self.spaces()
        if not (yield from self.literal(":")):
            return False
        yield from self.spaces()
        return (yield from self.value(depth))

    def _array(self, depth: int) -> Reading[bool]:
        return (yield from self._listed("[", self.value, "]", depth))

    def _listed(
        self, opening: str, item: Callable[[int], Reading[bool]], closing: str, depth: int
    ) -> Reading[bool]:
        """Takes what stands between brackets, with commas between."""
        if depth >= _DEEPEST or not (yield from self.literal(opening)):
            return False
        yield from self.spaces()
        if self.current == closing:
            yield from self.advance()
            return True
        while True:
            if not (yield from item(depth + 1)):
                return False
            yield from self.spaces()
            if self.current == closing:
                yield from self.advance()
                return True
            if not (yield from self.literal(",")):
                return False
            yield from self.spaces()

    def _escape(self) -> Reading[bool]:
        yield from self.advance()
        if self.current != "u":
            return (yield from self.one_of(_ESCAPES))
        yield from self.advance()
        for _ in range(4):
            if not (yield from self.one_of(_HEX)):
                return False
        return True

    def _number(self) -> Reading[bool]:
        if self.current == "-":
            yield from self.advance()
        if self.current == "0":
            yield from self.advance()
        elif not (yield from self._digits()):
            return False
        if self.current == ".":
            yield from self.advance()
            if not (yield from self._digits()):
                return False
        if self.current in ("e", "E"):
            yield from self.advance()
            if self.current in ("+", "-"):
                yield from self.advance()
            return (yield from self._digits())
        return True

    def _digits(self) -> Reading[bool]:
        if self.current not in _DIGITS:
            return False
        while self.current in _DIGITS:
            yield from self.advance()
        return True
