"""Random tables over another vocabulary as readers, and the laws that follow from them, naively."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardshift import TableModel, _core

from .panels import SEQUENCES, Readers, Wish
from .worlds import Ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .enumerate_law import Probs, Response

Words = tuple[bytes, ...]
"""What tokens add to the text, by id; token 0 ends it."""


def log_softmax(z: Probs) -> Probs:
    top = z.max()
    return np.asarray(z - top - math.log(np.exp(z - top).sum()))


def cut(text: bytes, words: Words) -> Response:
    """Byte-pair encoding, whose merges are ranked by id: the first of the lowest, each time."""
    ids = {word: token for token, word in enumerate(words) if word}
    parts = [text[i : i + 1] for i in range(len(text))]
    while True:
        pairs = [a + b for a, b in itertools.pairwise(parts)]
        known = [(ids[pair], place) for place, pair in enumerate(pairs) if pair in ids]
        if not known:
            return tuple(ids[part] for part in parts)
        _, place = min(known)
        parts[place : place + 2] = [pairs[place]]


@dataclass(frozen=True)
class ForeignReaders(Readers):
    """Readers some of whom speak other vocabularies than the target.

    ``words`` are the target's; ``others`` maps readers to their own. Each reader that is named
    there reads text as its own tokens; ids behind the target's are its own, as they are.
    """

    words: Words = (b"", b"a", b"b", b"ab")
    others: Mapping[str, Words] = field(default_factory=dict)
    likely: int = 2
    share: float = 0.0

    @cached_property
    def tables(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(self.seed)
        tables = {}
        for name in self.names:
            size = len(self.others.get(name, self.words))
            tables[name] = rng.normal(size=(size,) * (self.order + 1)).astype(np.float32)
        return tables

    def models(self, *, sequences: int = SEQUENCES, **facts: Any) -> dict[str, Any]:
        made: dict[str, Any] = {}
        maps: dict[Words, _core.VocabularyMap] = {}
        for name in self.names:
            words = self.others.get(name, self.words)
            table = TableModel(
                self.tables[name].reshape(-1, len(words)),
                order=self.order,
                end_of_generation={0},
                max_sequences=sequences,
                context_size=10**6,
                **{k: v.get(name, 0) if isinstance(v, dict) else v for k, v in facts.items()},
            )
            if name not in self.others:
                made[name] = table
                continue
            if words not in maps:
                maps[words] = _core.VocabularyMap(_vocabulary(self.words), _vocabulary(words))
            made[name] = _core.MappedModel(table, maps[words])
        return made

    def decoder(self, models: Any = None, **options: Any) -> _core.Decoder:
        law = {"refined_tokens": self.likely, "refined_share": self.share}
        return super().decoder(models, **{**law, **options})

    # --- the law of math.md, "Pairs of another vocabulary", naively

    def own_row(self, reader: str, reading: Response) -> Probs:
        """Log-probabilities of a reader's own tokens."""
        padded = (0,) * self.order + reading
        row = self.tables[reader][padded[len(padded) - self.order :]]
        return log_softmax(row.astype(np.float64))

    def reading(self, reader: str, history: Response) -> Response:
        """The history as the reader's own tokens."""
        words, read, text = self.others[reader], [], b""
        for token in history:
            if 0 < token < self.vocab:
                text += self.words[token]
                continue
            read += [*cut(text, words), max(token - self.vocab, 0)]
            text = b""
        return (*read, *cut(text, words))

    def has_twin(self, reader: str, token: int) -> bool:
        return token == 0 or self.words[token] in self.others[reader]

    def foreign_row(self, reader: str, history: Response, likely: set[int]) -> Probs:
        reading = self.reading(reader, history)
        row = np.zeros(self.vocab)
        for token in range(self.vocab):
            pieces = (0,) if token == 0 else cut(self.words[token], self.others[reader])
            counted = len(pieces) if token in likely else 1
            for i in range(counted):
                row[token] += self.own_row(reader, reading + pieces[:i])[pieces[i]]
        return row

    def said(self, reader: str, wish: Wish, prefix: Response) -> Probs:
        """What a reader says after a prefix, as the goal has it."""
        history = wish.of(reader) + prefix
        if reader not in self.others:
            return self.row(reader, history)
        p = self.row(self.names[0], wish.of(self.names[0]) + prefix)
        order = np.argsort(-p, kind="stable")[: self.likely]
        likely = {int(x) for x in order[np.exp(log_softmax(p)[order]) >= self.share]}
        return self.foreign_row(reader, history, likely)

    def logits(self, wish: Wish, prefix: Response) -> Probs:
        z = np.zeros(self.vocab)
        for reader, weight in self.weights(wish).items():
            z += weight * self.said(reader, wish, prefix)
        ask = Ask(dict(wish.options))
        for token, bias in ask.get("logit_bias").items():
            z[token] += bias
        last = ask.get("penalty_last_n")
        history = wish.prompt + prefix
        for token, count in Counter(history[len(history) - min(last, len(history)) :]).items():
            z[token] -= count * ask.get("frequency_penalty") + ask.get("presence_penalty")
        if wish.language is not None:
            may_follow = wish.language.after(prefix)
            z[[t not in may_follow for t in range(self.vocab)]] = -np.inf
        return z

    def log_z(self, wish: Wish, prefix: Response) -> float:
        """log sum_x p_T(x) exp(sum s lambda(x) / T), or with q_T and r_T where they are native."""
        temperature = wish.options.get("temperature", 1.0)
        total = np.zeros(self.vocab)
        for reader, weight in self.weights(wish).items():
            tempered = self.said(reader, wish, prefix) / temperature
            total += weight * (tempered if reader in self.others else log_softmax(tempered))
        return float(np.log(np.exp(total).sum()))


def _vocabulary(words: Words) -> _core.Vocabulary:
    return _core.Vocabulary(list(words), roles={0: _core.TokenRole.end_of_text})
