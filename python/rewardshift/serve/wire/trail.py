"""Which tokens a piece of an answer's text is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rewardshift.results import Chunk, TokenInfo


class Trail:
    """Gives tokens out with the text that they are part of.

    A chunk's tokens may be ahead of its text, where that may yet become a stop string or the rest
    of a character. What a stop string has cut away is no part of an answer's log-probabilities.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        """For one answer.

        Args:
            pieces: The bytes of each token of the vocabulary.
        """
        self._pieces = pieces
        self._held: list[TokenInfo] = []
        self._bytes = b""  # of the held ones, less those that are text already

    def take(self, chunk: Chunk) -> list[TokenInfo]:
        """The tokens of which text has come with this chunk, in their order."""
        self._held += chunk.tokens
        self._bytes += b"".join(self._pieces[token.id] for token in chunk.tokens)
        left = len(self._bytes) - self._length_of(chunk.text)
        begun: list[TokenInfo] = []
        held: list[TokenInfo] = []
        end = len(self._bytes)
        for token in reversed(self._held):
            begin = end - len(self._pieces[token.id])
            (begun if begin < len(self._bytes) - left else held).append(token)
            end = begin
        self._held = held[::-1]
        self._bytes = self._bytes[len(self._bytes) - left :]
        return begun[::-1]

    def rest(self) -> list[TokenInfo]:
        """Those of which no text came: what ended the answer, and what that cut away."""
        rest, self._held = self._held, []
        return rest

    def _length_of(self, text: str) -> int:
        """How many of the bytes a text is made of: not all of them may be UTF-8."""
        for length in range(len(self._bytes), -1, -1):
            if self._bytes[:length].decode(errors="replace") == text:
                return length
        return len(self._bytes)
