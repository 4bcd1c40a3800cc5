"""Which token each piece of a response's text came from."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rewardshift.results import Chunk, Origin, TokenInfo

_PARTIAL = "\ufffd"
Piece = tuple[str, "Origin"]


def pieces(text: str, tokens: Sequence[TokenInfo]) -> list[Piece]:
    """A whole response's text, cut where its tokens begin."""
    return list(OriginTracker().feed(text, tokens))


class OriginTracker:
    """Cuts text into tokens as it grows.

    A token's own text may be ahead of the response's, be dropped from it (an end-of-generation
    token, a stop string), or be part of a character: a run of such tokens shares its characters
    out evenly.
    """

    def __init__(self) -> None:
        """Starts with nothing fed."""
        self._waiting: deque[Piece] = deque()

    def feed_chunk(self, chunk: Chunk) -> Iterator[Piece]:
        """The pieces of a chunk's text."""
        return self.feed(chunk.text, chunk.tokens)

    def feed(self, text: str, tokens: Sequence[TokenInfo]) -> Iterator[Piece]:
        """The pieces of the next text, which may end before or within the next tokens'."""
        self._waiting.extend((token.text, token.origin) for token in tokens)
        while text:
            own, origin = self._waiting.popleft() if self._waiting else (text, "bonus")
            if text.startswith(own):
                taken = len(own)
            elif own.startswith(text):
                taken = len(text)
                self._waiting.appendleft((own[taken:], origin))
            else:
                taken = self._share_of_partial(own, text)
            if taken:
                yield text[:taken], origin
            text = text[taken:]

    def _share_of_partial(self, own: str, text: str) -> int:
        """How many characters of the text to give to a token that has but a part of some."""
        run = 1
        for other, _ in self._waiting:
            if _PARTIAL not in other:
                end = text.find(other) if other else -1
                break
            run += 1
        else:
            end = len(text)
        characters = end if end > 0 else 1
        whole = len(own.replace(_PARTIAL, ""))
        return min(characters, max(whole, -(-characters // run)))
