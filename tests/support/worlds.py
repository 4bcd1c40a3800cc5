"""Random tables as models, the laws that follow from them, and samples of the engine over them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from rewardshift import Decoder, NgramTable, TableModel

from . import enumerate_law as oracle

SEQUENCES = 65
AT_ONCE = 1500


@dataclass(frozen=True)
class Ask:
    """A request: its options, and the prompt of each role."""

    options: dict[str, Any] = field(default_factory=dict)
    prompt: tuple[int, ...] = (1,)
    draft_prompt: tuple[int, ...] | None = None
    reference_prompt: tuple[int, ...] | None = None

    @property
    def prompts(self) -> tuple[tuple[int, ...], tuple[int, ...] | None, tuple[int, ...] | None]:
        """In the order of the fields."""
        return self.prompt, self.draft_prompt, self.reference_prompt

    def get(self, option: str) -> Any:
        defaults = {
            "strength": 1.0,
            "temperature": 1.0,
            "repeat_penalty": 1.0,
            "frequency_penalty": 0.0,
            "presence_penalty": 0.0,
            "penalty_last_n": 64,
            "logit_bias": {},
        }
        return self.options.get(option, defaults.get(option))


@dataclass(frozen=True)
class World:
    """Three random tables, and the laws that follow from them, computed naively."""

    vocab: int
    order: int = 1
    eog: frozenset[int] = frozenset({0})
    seed: int = 0
    scale: float = 1.0
    masked: bool = False
    padding: tuple[int, int, int] = (0, 0, 0)

    @cached_property
    def tables(self) -> dict[str, np.ndarray]:
        """Logits by role, each with the ids that only this role has."""
        rng = np.random.default_rng(self.seed)
        small = rng.normal(size=(self.vocab,) * (self.order + 1))
        shifts = 0.8 * rng.normal(size=(2, *small.shape))
        rows = {"p": small + shifts[0], "q": small + shifts[1], "r": small}
        tables = {}
        for (role, logits), extra in zip(rows.items(), self.padding, strict=True):
            widened = np.pad(self.scale * logits, [(0, extra)] * logits.ndim, constant_values=1.5)
            if self.masked:
                widened[..., 1 + "pqr".index(role)] = -np.inf
            tables[role] = widened.astype(np.float32)
        return tables

    def decoder(self, roles: str = "pqr") -> Decoder:
        models = [
            TableModel(
                table.reshape(-1, table.shape[-1]),
                order=self.order,
                end_of_generation=set(self.eog),
                max_sequences=SEQUENCES,
                context_size=10**6,
            )
            for role, table in self.tables.items()
            if role in roles
        ]
        return Decoder.from_models(*models)

    def row(self, role: str, history: tuple[int, ...]) -> np.ndarray:
        """The role's logits after a history, over the ids that all roles know."""
        padded = (0,) * self.order + history
        row = self.tables[role][padded[len(padded) - self.order :]]
        return row[: self.vocab].astype(np.float64)

    def rows(self, ask: Ask, prefix: tuple[int, ...]) -> list[np.ndarray]:
        return [
            self.row(role, (prompt or ask.prompt) + prefix)
            for role, prompt in zip("pqr", ask.prompts, strict=True)
        ]

    def goal(self, ask: Ask, prefix: tuple[int, ...]) -> oracle.Probs:
        """pi* after a prefix: bias first, then penalties, then temperature and cuts."""
        p, q, r = self.rows(ask, prefix)
        z = np.full(self.vocab, -np.inf)
        if ask.get("strength") == 0:
            z = p.copy()
        else:
            alive = (p > -np.inf) & (q > -np.inf) & (r > -np.inf)
            z[alive] = (p + ask.get("strength") * (np.where(alive, q, 0) - np.where(alive, r, 0)))[
                alive
            ]
        for token, bias in ask.get("logit_bias").items():
            z[token] += bias
        last = ask.get("penalty_last_n")
        history = ask.prompt + prefix
        for token, count in Counter(history[len(history) - min(last, len(history)) :]).items():
            penalty = ask.get("repeat_penalty")
            z[token] = z[token] / penalty if z[token] > 0 else z[token] * penalty
            z[token] -= count * ask.get("frequency_penalty") + ask.get("presence_penalty")
        cuts = {k: v for k, v in ask.options.items() if k in ("top_k", "top_p", "min_p")}
        return oracle.goal(z, temperature=ask.get("temperature"), **cuts)

    def law(self, ask: Ask) -> oracle.Law:
        """Of whole responses that follow pi*."""
        return oracle.enumerate_law(
            lambda prefix: self.goal(ask, prefix), self.eog, ask.options["max_tokens"]
        )

    def paper_law(self, ask: Ask) -> oracle.Law:
        """Of whole responses under the paper's rule; without bias and penalties."""
        longest, drafts = ask.options["max_tokens"], ask.options["num_draft_tokens"]

        def drafted(prefix: tuple[int, ...]) -> oracle.Emission:
            p, q, r = (oracle.softmax(z / ask.get("temperature")) for z in self.rows(ask, prefix))
            goal = self.goal(ask, prefix)
            weight = oracle.shifted(p, q, r, ask.get("strength")) * (goal > 0)
            return oracle.emission(weight, q, goal)

        return oracle.enumerate_rounds(
            drafted,
            lambda prefix: self.goal(ask, prefix),
            lambda generated: min(drafts, longest - generated - 1),
            self.eog,
            longest,
        )


def observe(decoder: Decoder, asks: list[Ask], n: int) -> list[Counter[tuple[int, ...]]]:
    """Responses to n requests of each kind, all in the same batches."""
    counts: list[Counter[tuple[int, ...]]] = [Counter() for _ in asks]
    seeds = iter(range(n * len(asks)))
    for begin in range(0, n, AT_ONCE // len(asks)):
        kinds = {}
        for _ in range(begin, min(n, begin + AT_ONCE // len(asks))):
            for kind, ask in enumerate(asks):
                request = decoder.submit(
                    ask.prompt,
                    draft_prompt=ask.draft_prompt,
                    reference_prompt=ask.reference_prompt,
                    **{"temperature": 1.0, **ask.options, "seed": next(seeds)},
                )
                kinds[request] = kind
        while decoder.has_work:
            for chunk in decoder.step():
                if chunk.completion is not None:
                    counts[kinds[chunk.id]][chunk.completion.tokens] += 1
    return counts


def p_value(decoder: Decoder, ask: Ask, law: oracle.Law, n: int) -> float:
    return oracle.chi_square(observe(decoder, [ask], n)[0], law, n)


def distance(a: oracle.Law, b: oracle.Law) -> float:
    return 0.5 * sum(abs(a.get(x, 0) - b.get(x, 0)) for x in {*a, *b})


def random_table(vocab: int, *, seed: int) -> NgramTable:
    """Knows what follows most n-grams, all of it made up: a few tokens each, some likely."""
    rng, table = np.random.default_rng(seed), NgramTable()
    for _ in range(60):
        history = rng.integers(0, vocab, size=rng.integers(1, 6)).tolist()
        tokens = rng.permutation(vocab)[: rng.integers(1, vocab + 1)].tolist()
        weights = rng.exponential(size=len(tokens))
        table.add(history, list(zip(tokens, (weights / weights.sum()).tolist(), strict=True)))
    return table
