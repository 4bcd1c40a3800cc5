"""Finite languages, and what may follow by their definition: the oracle of the masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rewardshift.grammar import Vocabulary, grammar_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rewardshift import _core

CONTROL = b""


@dataclass(frozen=True)
class Tokens:
    """A vocabulary: what grammars need to know of a model."""

    pieces: tuple[bytes, ...]
    ends: frozenset[int]

    @property
    def vocab_size(self) -> int:
        return len(self.pieces)

    def piece(self, token: int) -> bytes:
        return self.pieces[token]

    def is_end_of_generation(self, token: int) -> bool:
        return token in self.ends

    def grammar(self, n_known: int | None = None, **options: object) -> _core.Grammar:
        found = grammar_of(options, Vocabulary(self, n_known))  # type: ignore[arg-type]
        assert found is not None
        return found

    def text(self, tokens: Sequence[int]) -> bytes | None:
        """The bytes of a response; None where it has a token that is no text."""
        if any(t in self.ends or not self.pieces[t] for t in tokens):
            return None
        return b"".join(self.pieces[t] for t in tokens)


def tokens_of(*pieces: bytes, control: int = 2, ends: int = 2) -> Tokens:
    """The pieces, then control tokens, then those that end generation."""
    n = len(pieces) + control
    return Tokens((*pieces, *[CONTROL] * (control + ends)), frozenset(range(n, n + ends)))


BYTES = tokens_of(*(bytes([i]) for i in range(256)))


@dataclass(frozen=True)
class Language:
    """Sentences, and an option that is to mean just these."""

    sentences: frozenset[bytes]
    options: dict[str, object] = field(hash=False)

    def allowed(self, tokens: Tokens, response: Sequence[int]) -> list[int]:
        """What may follow, by definition."""
        begun = tokens.text(response)
        if begun is None:
            return []
        return [
            t
            for t, piece in enumerate(tokens.pieces)
            if (
                begun in self.sentences
                if t in tokens.ends
                else piece and self.goes_on(begun + piece)
            )
        ]

    def goes_on(self, text: bytes) -> bool:
        return any(sentence.startswith(text) for sentence in self.sentences)

    def responses(self, tokens: Tokens) -> Iterator[list[int]]:
        """All that begin a sentence, with each way to cut it into tokens."""
        waiting: list[list[int]] = [[]]
        while waiting:
            response = waiting.pop()
            yield response
            waiting += [
                [*response, t] for t in self.allowed(tokens, response) if t not in tokens.ends
            ]


def language(*sentences: str, **options: object) -> Language:
    """Texts, and the option that is to mean just these."""
    return Language(frozenset(text.encode() for text in sentences), options)
