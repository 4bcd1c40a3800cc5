"""Pairs of another vocabulary, written naively from their definition: the oracle for the core's.

Nothing here is clever: texts are tokenised whole, tables are asked row by row, in float64.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Row = NDArray[np.float64]

ENDS = ("end_of_text", "end_of_turn", "other_end")


@dataclass(frozen=True)
class Toy:
    """A vocabulary of byte strings, cut by byte-pair encoding whose ranks are the ids."""

    pieces: tuple[bytes, ...]
    roles: Mapping[int, str] = field(default_factory=dict)
    begin: int | None = None

    def __len__(self) -> int:
        """How many tokens there are."""
        return len(self.pieces)

    def find(self, text: bytes) -> int | None:
        """The token with these bytes."""
        return self.pieces.index(text) if text and text in self.pieces else None

    def role(self, *roles: str) -> int | None:
        """The first token of the first of these roles that there is."""
        for role in roles:
            for token in sorted(self.roles):
                if self.roles[token] == role:
                    return token
        return None

    def merged(self, text: bytes) -> list[int]:
        """Whole characters: of all neighbours that are a token together, the lowest one joins."""
        parts = [bytes([byte]) for byte in text]
        while True:
            joins = [
                (token, i)
                for i, (a, b) in enumerate(itertools.pairwise(parts))
                if (token := self.find(a + b)) is not None
            ]
            if not joins:
                break
            _, i = min(joins)
            parts[i : i + 2] = [parts[i] + parts[i + 1]]
        tokens = [token for part in parts if (token := self.find(part)) is not None]
        return tokens if len(tokens) == len(parts) else self.spelled(text)

    def spelled(self, text: bytes) -> list[int]:
        """By the longest tokens from left to right; bytes that none has are left out."""
        tokens = []
        while text:
            found = [n for n in range(len(text), 0, -1) if self.find(text[:n]) is not None]
            tokens += [self.find(text[: found[0]])] if found else []
            text = text[found[0] if found else 1 :]
        return [token for token in tokens if token is not None]

    def canonical(self, text: bytes) -> list[int]:
        """Of bytes that need not be text: what is no whole character is spelled."""
        tokens = []
        characters = text.decode(errors="surrogateescape")
        for broken, part in itertools.groupby(characters, lambda c: "\udc80" <= c <= "\udcff"):
            own = "".join(part).encode(errors="surrogateescape")
            tokens += self.spelled(own) if broken else self.merged(own)
        return tokens


@dataclass(frozen=True)
class Pair:
    """A target's vocabulary, a foreign one, and how that cuts text."""

    target: Toy
    foreign: Toy
    canonical: Callable[[bytes], list[int]] | None = None

    def cut(self, text: bytes) -> list[int]:
        return (self.canonical or self.foreign.canonical)(text)

    def counterpart(self, token: int) -> int | None:
        """The foreign control token that plays a control token's part."""
        role = self.target.roles.get(token)
        if role == "end_of_text":
            return self.foreign.role("end_of_text", "end_of_turn", "other_end")
        if role in ENDS:
            return self.foreign.role("end_of_turn", "end_of_text", "other_end")
        return self.foreign.begin if token == self.target.begin else None

    def twin(self, token: int) -> int | None:
        text = self.target.pieces[token]
        return self.foreign.find(text) if text else self.counterpart(token)

    def pieces(self, token: int) -> list[int]:
        """Foreign tokens for one of the target's, by itself."""
        twin = self.twin(token)
        return self.cut(self.target.pieces[token]) if twin is None else [twin]

    def reading(self, history: Sequence[int]) -> list[int]:
        """A history as the foreign model reads it."""
        tokens: list[int] = []
        run = b""
        if history and history[0] < len(self.target) and self.foreign.begin is not None:
            tokens.append(self.foreign.begin)
        for place, token in enumerate(history):
            own = token - len(self.target)
            text = self.target.pieces[token] if own < 0 else b""
            run += text
            if own < 0 and (text or (place == 0 and token == self.target.begin)):
                continue
            control = self.counterpart(token) if own < 0 else own
            if control is not None:
                tokens += [*self.cut(run), control]
                run = b""
        return tokens + self.cut(run)


@dataclass(frozen=True)
class Table:
    """A model of a toy vocabulary: logits by the last `order` tokens, zeros before the first."""

    vocab: int
    seed: int
    order: int = 3
    scale: float = 1.0
    base: Table | None = None

    @cached_property
    def logits(self) -> NDArray[np.float32]:
        """Shape (vocab ** order, vocab): random, or the base's and something random."""
        shape = (self.vocab,) * (self.order + 1)
        drawn = self.scale * np.random.default_rng(self.seed).normal(size=shape)
        if self.base is not None:
            drawn += self.base.logits.reshape(shape)
        return drawn.astype(np.float32).reshape(-1, self.vocab)

    def after(self, history: Sequence[int]) -> Row:
        """Log-probabilities of the next token."""
        index = 0
        for token in ([0] * self.order + list(history))[-self.order :]:
            index = index * self.vocab + token
        return log_softmax(self.logits[index].astype(np.float64))


def log_softmax(logits: Row) -> Row:
    best = logits.max()
    return np.asarray(logits - best - np.log(np.exp(logits - best).sum()))


def row(pair: Pair, after: Callable[[Sequence[int]], Row], history: Sequence[int]) -> Row:
    """What the mapped model says after a history: twins, first pieces, nothing."""
    reading = pair.reading(history)
    if not reading:
        return np.zeros(len(pair.target))
    says = after(reading)
    pieces = [pair.pieces(token) for token in range(len(pair.target))]
    return np.array([says[these[0]] if these else 0.0 for these in pieces])


def refined(
    pair: Pair, after: Callable[[Sequence[int]], Row], history: Sequence[int]
) -> dict[int, float]:
    """What it says of all tokens that have several pieces, all of them taken."""
    reading = pair.reading(history)
    values: dict[int, float] = {}
    for token in range(len(pair.target)):
        pieces = pair.pieces(token)
        if not reading or pair.twin(token) is not None or len(pieces) < 2:
            continue
        values[token] = sum(
            float(after([*reading, *pieces[:i]])[piece]) for i, piece in enumerate(pieces)
        )
    return values


def covered(
    foreign: Toy, after: Callable[[Sequence[int]], Row], read: list[int], text: bytes
) -> float:
    """Q(text): the mass of all foreign sequences that begin with these bytes, however cut."""
    if not text:
        return 1.0
    probs = np.exp(after(read))
    mass = 0.0
    for token, piece in enumerate(foreign.pieces):
        if piece and text.startswith(piece):
            rest = covered(foreign, after, [*read, token], text[len(piece) :])
            mass += float(probs[token]) * rest
        elif piece.startswith(text):
            mass += float(probs[token])
    return mass


def histories(vocab: int, longest: int) -> Iterator[tuple[int, ...]]:
    """All of them, the shorter first, but for the empty one."""
    for length in range(1, longest + 1):
        yield from itertools.product(range(vocab), repeat=length)


def _toy(*pieces: bytes, ends: tuple[str, ...] = ("end_of_text",), begin: bool = False) -> Toy:
    """The pieces, then a control token without a role, then those that end, then what begins."""
    size = len(pieces)
    roles = {size: "none"} | {size + 1 + i: role for i, role in enumerate(ends)}
    controls = 1 + len(ends) + (1 if begin else 0)
    return Toy((*pieces, *[b""] * controls), roles, size + controls - 1 if begin else None)


_NI = "你".encode()

SHAPES = {
    "disjoint": Pair(_toy(b"a", b"b", b"ab"), _toy(b"c", b"d", b"cd")),
    "foreign within": Pair(_toy(b"a", b"b", b" ", b"ab", b" a", b"ba"), _toy(b"b", b"a", b" ")),
    "target within": Pair(_toy(b"a", b"b"), _toy(b"b", b"ba", b"a", b"aba", b"bb")),
    "coarser": Pair(_toy(b"a", b"b", b" "), _toy(b"a", b"b", b" ", b"ab", b" a", b"aab", b" ab")),
    "finer": Pair(_toy(b"ab", b"abb", b"a", b" ba", b"b b"), _toy(b"a", b"b", b" ")),
    "across": Pair(
        _toy(b"ab", b"c", b"a", b"bc", b"b"), _toy(b"a", b"bc", b"b", b"c", b"abc", b"ca")
    ),
    "characters": Pair(
        _toy(_NI, _NI[:1], _NI[1:], _NI[:2], _NI[2:], b"\xc3", b"a"),
        _toy(b"a", b"\xe4", b"\xbd", b"\xa0", _NI[:2], _NI, b"\xc3", b"a" + _NI),
    ),
    "some bytes only": Pair(_toy(b"a", b"b", b"ab", b"ba", b"c"), _toy(b"a", b"c", b"ac", b"cc")),
    "white space": Pair(
        _toy(b"a", b" ", b"\n", b" a", b"a\n"),
        _toy(b"a", b" ", b"\n", b"\n\n", b"  ", b" a", b"aa"),
    ),
    "no shared control": Pair(_toy(b"a", b"b", ends=()), _toy(b"a", b"b", b"ab", ends=ENDS)),
    "no foreign control": Pair(_toy(b"a", b"b", ends=ENDS), _toy(b"a", b"b", b"ab", ends=())),
    "no end of turn": Pair(
        _toy(b"a", b"b", ends=ENDS), _toy(b"a", b"ab", b"b", ends=("other_end", "end_of_text"))
    ),
    "no end of text": Pair(
        _toy(b"a", b"b", ends=ENDS), _toy(b"a", b"ab", b"b", ends=("other_end", "end_of_turn"))
    ),
    "all control": Pair(
        _toy(b"a", b"b", ends=ENDS, begin=True),
        _toy(b"a", b"ba", b"b", ends=ENDS[::-1], begin=True),
    ),
    "foreign begin": Pair(
        _toy(b"a", b"b", ends=("end_of_turn",)), _toy(b"a", b"ab", b"b", ends=ENDS[:1], begin=True)
    ),
    "target begin": Pair(
        _toy(b"a", b"b", ends=("other_end",), begin=True), _toy(b"a", b"ab", b"b", ends=ENDS[:2])
    ),
}
"""Pairs of every shape; each has a control token without a counterpart."""
