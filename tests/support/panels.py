"""Decoders whose readers are random tables, and the laws that follow from several shifts."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from rewardshift import TableModel, _core

from . import enumerate_law as oracle
from .heads import BaseHead, Head
from .worlds import AT_ONCE, SEQUENCES, Ask

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from .enumerate_law import Response


class Listed:
    """A language of few responses: the grammar, and what may follow by its definition."""

    def __init__(self, responses: Iterable[Response], vocab: int, ends: frozenset[int]) -> None:
        self.responses = frozenset(responses)
        self.ends = ends
        self.grammar: _core.Grammar = _core.ListGrammar(
            [list(response) for response in self.responses], vocab, set(ends)
        )

    def after(self, prefix: Response) -> set[int]:
        n = len(prefix)
        longer = {r[n] for r in self.responses if len(r) > n and r[:n] == prefix}
        return longer | (set(self.ends) if prefix in self.responses else set())


@dataclass(frozen=True)
class Wish:
    """A request: its options, a strength by shift (None: the defaults), prompts by reader."""

    options: Mapping[str, Any] = field(default_factory=dict)
    strengths: tuple[float, ...] | None = None
    prompt: Response = (1,)
    prompts: Mapping[str, Response] = field(default_factory=dict)
    language: Listed | None = None

    def of(self, reader: str) -> Response:
        """The reader's prompt."""
        return self.prompts.get(reader, self.prompt)

    def with_options(self, **options: Any) -> Wish:
        """The same, and these."""
        return Wish(
            {**self.options, **options}, self.strengths, self.prompt, self.prompts, self.language
        )


@dataclass
class Seen:
    """What the engine made of requests of one kind."""

    counts: Counter[Response] = field(default_factory=Counter)
    origins: list[list[str]] = field(default_factory=list)
    drafted: int = 0
    accepted: int = 0
    drafted_by: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        """Tokens that stand in place of a draft."""
        return sum(origins.count("correction") for origins in self.origins)

    def add(self, tokens: Sequence[_core.EmittedToken], statistics: _core.Statistics) -> None:
        self.counts[tuple(token.id for token in tokens)] += 1
        self.origins.append([token.origin for token in tokens])
        self.drafted += statistics.drafted
        self.accepted += statistics.accepted
        names = ("plain", "shifted", "table", "quote")
        self.drafted_by.update(dict(zip(names, statistics.drafted_by, strict=True)))


@dataclass(frozen=True)
class Readers:
    """Random tables by reader, the target first, and who shifts: name, draft, reference, default.

    What ``of_one`` maps to another reader reads with that one's model. A shift without a reference
    is a head on the target's features, which are random, too; so is a base that is a head. That
    one knows all tokens but one.
    """

    names: tuple[str, ...]
    shifts: tuple[tuple[str, str, str | None, float], ...] = ()
    base: str | None = None
    base_is_head: bool = False
    vocab: int = 4
    order: int = 1
    eog: frozenset[int] = frozenset({0})
    seed: int = 0
    spread: float = 0.8
    of_one: tuple[tuple[str, str], ...] = ()

    @cached_property
    def tables(self) -> dict[str, np.ndarray]:
        """Logits by reader: all alike, each with a mind of its own. To be changed before use."""
        rng = np.random.default_rng(self.seed)
        shape = (self.vocab,) * (self.order + 1)
        common = rng.normal(size=shape)
        tables = {
            name: (common + self.spread * rng.normal(size=shape)).astype(np.float32)
            for name in self.names
        }
        for name, other in self.of_one:
            tables[name] = tables[other]
        for name, head in self.heads.items():
            tables[name] = head.rows(self.features).astype(np.float32).reshape(shape)
        return tables

    @cached_property
    def features(self) -> np.ndarray:
        """Of the target, by row of its table: of more values than there are rows in most panels."""
        rng = np.random.default_rng(self.seed + 1000)
        return rng.normal(size=(self.vocab**self.order, 6)).astype(np.float32)

    @cached_property
    def heads(self) -> dict[str, Head]:
        """Of the readers that are heads."""
        return {
            name: Head.random(self.features.shape[1], self.vocab, seed=self.names.index(name))
            for _, name, reference, _ in self.shifts
            if reference is None
        }

    @cached_property
    def base_head(self) -> BaseHead:
        """Of the base, where that is one."""
        width = self.features.shape[1]
        return BaseHead.random(width, self.vocab, known=self.vocab - 1, seed=self.seed)

    def models(self, *, sequences: int = SEQUENCES, **facts: Any) -> dict[str, _core.LanguageModel]:
        """A model for each reader; some facts may be told by reader."""
        made: dict[str, _core.LanguageModel] = {}
        shared = dict(self.of_one)
        has_heads = bool(self.heads) or self.base_is_head
        for name in self.names:
            if name in shared:
                made[name] = made[shared[name]]
                continue
            if name in self.heads:
                made[name] = _core.ShiftHeadModel(made[self.names[0]], self.heads[name].core())
                continue
            if name == self.base and self.base_is_head:
                made[name] = _core.BaseHeadModel(made[self.names[0]], self.base_head.core())
                continue
            sharers = 1 + list(shared.values()).count(name)
            made[name] = TableModel(
                self.tables[name].reshape(-1, self.vocab),
                order=self.order,
                end_of_generation=set(self.eog),
                max_sequences=sequences * sharers,
                context_size=10**6,
                features=self.features if has_heads and name == self.names[0] else None,
                **{k: v.get(name, 0) if isinstance(v, dict) else v for k, v in facts.items()},
            )
        return made

    def decoder(
        self, models: Mapping[str, _core.LanguageModel] | None = None, **options: Any
    ) -> _core.Decoder:
        """The engine over these tables; options are those of ``DecoderOptions``."""
        settings = _core.DecoderOptions()
        for name, value in options.items():
            setattr(settings, name, value)
        models = models or self.models()
        number = self.names.index
        shifts = [
            _core.Shift(n, number(d), None if r is None else number(r), s)
            for n, d, r, s in self.shifts
        ]
        base = None if self.base is None else number(self.base)
        return _core.Decoder([(n, models[n]) for n in self.names], shifts, base, settings)

    # --- the laws, naively

    def strengths(self, wish: Wish) -> tuple[float, ...]:
        if wish.options.get("rule") == "speculative":
            return (0.0,) * len(self.shifts)
        if wish.strengths is None:
            return tuple(default for *_, default in self.shifts)
        return wish.strengths

    def weights(self, wish: Wish) -> dict[str, float]:
        """Of the readers that are asked."""
        weights = {self.names[0]: 1.0}
        for (_, draft, reference, _), s in zip(self.shifts, self.strengths(wish), strict=True):
            if s != 0:
                weights[draft] = weights.get(draft, 0.0) + s
                if reference is not None:
                    weights[reference] = weights.get(reference, 0.0) - s
        return weights

    def row(self, reader: str, history: Response) -> np.ndarray:
        padded = (0,) * self.order + history
        return self.tables[reader][padded[len(padded) - self.order :]].astype(np.float64)

    def logits(self, wish: Wish, prefix: Response) -> np.ndarray:
        """z* after a prefix, before the temperature: bias, then penalties, then the mask."""
        z = np.zeros(self.vocab)
        dead = np.zeros(self.vocab, dtype=bool)
        for reader, weight in self.weights(wish).items():
            row = self.row(reader, wish.of(reader) + prefix)
            dead |= row == -np.inf
            z += weight * np.where(row == -np.inf, 0, row)
        ask = Ask(dict(wish.options))
        for token, bias in ask.get("logit_bias").items():
            z[token] += bias
        last = ask.get("penalty_last_n")
        history = wish.prompt + prefix
        for token, count in Counter(history[len(history) - min(last, len(history)) :]).items():
            penalty = ask.get("repeat_penalty")
            z[token] = z[token] / penalty if z[token] > 0 else z[token] * penalty
            z[token] -= count * ask.get("frequency_penalty") + ask.get("presence_penalty")
        if wish.language is not None:
            may_follow = wish.language.after(prefix)
            dead |= np.array([t not in may_follow for t in range(self.vocab)])
        return np.where(dead, -np.inf, z)

    def goal(self, wish: Wish, prefix: Response) -> oracle.Probs:
        """pi* after a prefix."""
        cuts = {k: v for k, v in wish.options.items() if k in ("top_k", "top_p", "min_p")}
        temperature = wish.options.get("temperature", 1.0)
        return oracle.goal(self.logits(wish, prefix), temperature=temperature, **cuts)

    def law(self, wish: Wish) -> oracle.Law:
        """Of whole responses that follow pi*."""
        return oracle.enumerate_law(
            lambda prefix: self.goal(wish, prefix), self.eog, wish.options["max_tokens"]
        )


def submit(core: _core.Decoder, readers: Readers, wish: Wish, seed: int) -> int:
    """Queues a request; its seed is the only thing that it does not say itself."""
    params = _core.RequestParams()
    options: dict[str, Any] = {"temperature": 1.0, **wish.options, "seed": seed}
    options["logit_bias"] = list(options.get("logit_bias", {}).items())
    if wish.strengths is not None:
        options["strengths"] = list(wish.strengths)
    if wish.language is not None:
        options["grammar"] = wish.language.grammar
    for name, value in options.items():
        setattr(params, name, value)
    return core.submit([list(wish.of(name)) for name in readers.names], params)


def play(core: _core.Decoder) -> dict[int, tuple[list[_core.EmittedToken], _core.Event]]:
    """Steps until nothing is left to do: each request's tokens, and its last event."""
    tokens: dict[int, list[_core.EmittedToken]] = {}
    ended: dict[int, tuple[list[_core.EmittedToken], _core.Event]] = {}
    while core.has_work:
        core.step()
        for event in core.take_events():
            tokens.setdefault(event.id, []).extend(event.tokens)
            if event.finish is not None:
                ended[event.id] = tokens.pop(event.id), event
    return ended


def observe(
    readers: Readers, wishes: Sequence[Wish], n: int, *, core: _core.Decoder | None = None
) -> list[Seen]:
    """What becomes of n requests of each kind, all in the same batches."""
    core = core or readers.decoder()
    seen = [Seen() for _ in wishes]
    seeds = itertools.count()
    at_once = max(AT_ONCE // len(wishes), 1)
    for begin in range(0, n, at_once):
        kinds = {}
        for _ in range(begin, min(n, begin + at_once)):
            for kind, wish in enumerate(wishes):
                kinds[submit(core, readers, wish, next(seeds))] = kind
        for request, (tokens, last) in play(core).items():
            assert last.finish in ("stop", "length"), last.error
            seen[kinds[request]].add(tokens, last.statistics)
    return seen


def p_values(readers: Readers, wishes: Sequence[Wish], seen: Sequence[Seen], n: int) -> list[float]:
    """Of each wish: whether what was seen follows its law."""
    return [
        oracle.chi_square(s.counts, readers.law(wish), n)
        for wish, s in zip(wishes, seen, strict=True)
    ]


def text_of(n: int, vocab: int, *, seed: int) -> Response:
    """A prompt that repeats itself, without the token 0."""
    rng = np.random.default_rng(seed)
    pattern = rng.integers(1, vocab, size=5)
    return tuple(int(pattern[i % len(pattern)]) for i in range(n))
