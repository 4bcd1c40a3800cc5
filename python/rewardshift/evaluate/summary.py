"""What samples add up to: a row for each method, and SSS against Best-of-N at equal gold reward."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .equal_gold import EqualGold, Outcomes, equal_gold
from .spec import TARGET, best_of, rule_of, strength_of
from .statistics import (
    Interval,
    best_of_n_kl,
    bootstrap,
    decisions,
    distinct,
    mean_of,
    ratio_of,
    self_bleu,
    wins,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .samples import Sample
    from .statistics import Array, Statistic

ROLES = (TARGET, "draft", "reference", "reward")
_USUAL_N = 8
_Z_POINTS = (5, 25, 50, 75, 95)
_FEWEST = 10
"""Answers that must reach a position for its Z to be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A method's results. Intervals are 95 % bootstrap intervals over prompts.

    Attributes:
        method: As the command line names it.
        name: Its own name.
        best_of: N of a Best-of-N that takes the best; None of any other method.
        strength: Of an SSS, where it is one number.
        rule: Likewise.
        gold: Mean gold reward.
        training: Mean of the reward that methods may choose by.
        gain: Gold reward minus the baseline's on the same prompts; None without a baseline.
        win_rate: How often its gold reward beats the baseline's; None without a baseline.
        tokens_per_second: Tokens of the answers by their wall time.
        seconds: Mean wall time of an answer.
        speed_up: Tokens a second over those of the baseline; None without one.
        calls: Mean evaluations of an answer, by role.
        evaluated: Mean tokens evaluated (for "reward": texts scored), by role.
        tokens_per_evaluation: Tokens of the answers by evaluations of the target; None without any.
        acceptance: Accepted share of the decisions; None where there are none, or an answer does
            not tell them.
        acceptance_by_position: Accepted share of the decisions at each position of the draft.
        distinct_1: Different words by words, over all answers.
        distinct_2: Likewise of pairs of words.
        self_bleu: Likeness of the answers to a prompt, mean over prompts; NaN with one seed.
        kl: KL divergence from the target at the run's temperature, nats a token; None if unknown.
        kl_is_bound: Whether it is an upper bound.
        perplexity: The target's, of the answers, at temperature 1; None if unknown.
        perplexity_ratio: That by the target's own on the same prompts; None if either is unknown.
        z: 5th, 25th, 50th, 75th and 95th percentile of Z by position of the answer.
        tokens: Mean tokens of an answer.
    """

    method: str
    name: str
    best_of: int | None
    strength: float | None
    rule: str | None
    gold: Interval
    training: Interval
    gain: Interval | None
    win_rate: Interval | None
    tokens_per_second: Interval
    seconds: Interval
    speed_up: Interval | None
    calls: dict[str, float]
    evaluated: dict[str, float]
    tokens_per_evaluation: float | None
    acceptance: float | None
    acceptance_by_position: list[float]
    distinct_1: float
    distinct_2: float
    self_bleu: float
    kl: Interval | None
    kl_is_bound: bool
    perplexity: Interval | None
    perplexity_ratio: Interval | None
    z: list[list[float]]
    tokens: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """All results of a run.

    Attributes:
        rows: By method, in the order of the run.
        baseline: The Best-of-N that win rates and speed-ups are against; None without one.
        equal: By method that is no Best-of-N: where Best-of-N has its gold reward; empty unless two
            N were measured.
        prompts: How many.
        seeds: Answers of each method to each.
    """

    rows: list[Row]
    baseline: str | None
    equal: dict[str, EqualGold]
    prompts: int
    seeds: int

    def row(self, method: str) -> Row:
        """The row of a method."""
        return next(row for row in self.rows if row.method == method)


def summarise(samples: Sequence[Sample], *, baseline: str | None = None) -> Summary:
    """Adds up a run.

    Args:
        samples: As ``evaluate`` returns them: of each method the same prompts and seeds.
        baseline: The method that win rates and speed-ups are against; None takes Best-of-8, or the
            Best-of-N of the largest N.

    Raises:
        ValueError: If there are no samples, some are missing or there twice, or the baseline is
            none of the methods.
    """
    grids = _grids(samples)
    baseline = _baseline(list(grids), baseline)
    outcomes = {method: _outcomes(grid) for method, grid in grids.items()}
    against = None if baseline is None else outcomes[baseline]
    first = next(iter(grids.values()))
    roles = _roles_in(samples)
    return Summary(
        rows=[
            _row(grid, outcomes[method], against, grids.get(TARGET), roles)
            for method, grid in grids.items()
        ],
        baseline=baseline,
        equal=_equal(outcomes),
        prompts=len(first),
        seeds=len(first[0]),
    )


Grid = list[list["Sample"]]
"""Samples of a method, by prompt and seed."""


def _grids(samples: Sequence[Sample]) -> dict[str, Grid]:
    """Samples by method, prompt and seed, prompts in one order for all."""
    if not samples:
        raise ValueError("there are no samples to add up")
    found = {sample.key: sample for sample in samples}
    if len(found) < len(samples):
        twice = next(key for key, times in Counter(s.key for s in samples).items() if times > 1)
        raise ValueError(f"there are several samples of {twice}: methods, prompts and seeds differ")
    methods = dict.fromkeys(sample.method for sample in samples)
    prompts = dict.fromkeys(sample.prompt for sample in samples)
    seeds = sorted({sample.seed for sample in samples})
    if len(found) != len(methods) * len(prompts) * len(seeds):
        raise ValueError("samples are missing: every method must have answered the same prompts")
    return {m: [[found[m, p, s] for s in seeds] for p in prompts] for m in methods}


def _baseline(methods: Sequence[str], wanted: str | None) -> str | None:
    if wanted is not None:
        if wanted not in methods:
            raise ValueError(f"{wanted!r} is none of the methods: {', '.join(methods)}")
        return wanted
    counts = {n: method for method in methods if (n := best_of(method)) is not None}
    return counts.get(_USUAL_N) or counts.get(max(counts, default=0))


def _outcomes(grid: Grid) -> Outcomes:
    def array(name: str) -> Array:
        return np.array([[float(getattr(s, name)) for s in answers] for answers in grid])

    return Outcomes(gold=array("gold"), tokens=array("tokens"), seconds=array("seconds"))


def _equal(outcomes: Mapping[str, Outcomes]) -> dict[str, EqualGold]:
    """Best-of-1 is the target's own sampling, so that stands in for it where it was not run."""
    counts = {n: found for m, found in outcomes.items() if (n := best_of(m)) is not None}
    if TARGET in outcomes:
        counts.setdefault(1, outcomes[TARGET])
    if len(counts) < 2:
        return {}
    others = [m for m in outcomes if best_of(m) is None and m != TARGET]
    return {method: equal_gold(counts, outcomes[method]) for method in others}


def _row(
    grid: Grid,
    found: Outcomes,
    against: Outcomes | None,
    target: Grid | None,
    roles: Sequence[str],
) -> Row:
    samples = [sample for answers in grid for sample in answers]
    first, count = samples[0], len(grid)
    training = np.array([[s.training for s in answers] for answers in grid])
    calls = _means([s.calls for s in samples], roles)
    tokens = float(found.tokens.mean())
    accepted, decided = _decisions(samples)
    texts = [s.text for s in samples]
    perplexity = _perplexity(grid)
    return Row(
        method=first.method,
        name=first.name,
        best_of=best_of(first.method),
        strength=strength_of(first.method),
        rule=rule_of(first.method),
        gold=bootstrap(mean_of(found.gold), count),
        training=bootstrap(mean_of(training), count),
        gain=None if against is None else bootstrap(mean_of(_gains(found, against)), count),
        win_rate=None
        if against is None
        else bootstrap(mean_of(wins(found.gold, against.gold)), count),
        tokens_per_second=bootstrap(ratio_of(found.tokens, found.seconds), count),
        seconds=bootstrap(mean_of(found.seconds), count),
        speed_up=None if against is None else _speed_up(found, against),
        calls=calls,
        evaluated=_means([s.evaluated for s in samples], roles),
        tokens_per_evaluation=tokens / calls[TARGET] if calls[TARGET] else None,
        acceptance=float(accepted.sum() / decided.sum()) if decided.any() else None,
        acceptance_by_position=[
            float(a / d) if d else math.nan for a, d in zip(accepted, decided, strict=True)
        ],
        distinct_1=distinct(texts, 1),
        distinct_2=distinct(texts, 2),
        self_bleu=float(np.mean([self_bleu([s.text for s in answers]) for answers in grid])),
        kl=_kl(grid, found.tokens),
        kl_is_bound=best_of(first.method) is not None,
        perplexity=None if perplexity is None else bootstrap(perplexity, count),
        perplexity_ratio=_perplexity_ratio(perplexity, target),
        z=_z_by_position(samples),
        tokens=tokens,
    )


def _speed_up(ours: Outcomes, theirs: Outcomes) -> Interval:
    fast, slow = ratio_of(ours.tokens, ours.seconds), ratio_of(theirs.tokens, theirs.seconds)
    return bootstrap(lambda drawn: fast(drawn) / slow(drawn), len(ours.gold))


def _gains(ours: Outcomes, theirs: Outcomes) -> Array:
    """Differences of the gold rewards, by prompt."""
    return np.asarray(ours.gold.mean(axis=1) - theirs.gold.mean(axis=1))[:, None]


def _roles_in(samples: Sequence[Sample]) -> tuple[str, ...]:
    """Who was evaluated: the usual roles, or the readers of several shifts by their names."""
    found = dict.fromkeys(role for sample in samples for role in sample.calls)
    if found.keys() <= set(ROLES):
        return ROLES
    return (TARGET, *(role for role in found if role not in (TARGET, ROLES[-1])), ROLES[-1])


def _means(counts: Sequence[Mapping[str, int]], roles: Sequence[str]) -> dict[str, float]:
    return {role: sum(c.get(role, 0) for c in counts) / len(counts) for role in roles}


def _decisions(samples: Sequence[Sample]) -> tuple[Array, Array]:
    """By position, accepted ones and all; none where an answer with drafts does not tell."""
    drafts = [(s.drafted, s.accepted, s.acceptance_by_position) for s in samples if s.drafted]
    return decisions(drafts if all(shares for *_, shares in drafts) else [])


def _kl(grid: Grid, tokens: Array) -> Interval | None:
    """Nats a token; of Best-of-N the bound."""
    n = best_of(grid[0][0].method)
    found = [[s.kl if n is None else best_of_n_kl(n) for s in answers] for answers in grid]
    if any(kl is None for answers in found for kl in answers):
        return None
    return bootstrap(ratio_of(np.array(found, dtype=np.float64), tokens), len(grid))


def _perplexity(grid: Grid) -> Statistic | None:
    """Answers without tokens do not count; None if there are no others."""
    known = [[(s.target_nats, s.tokens) for s in answers] for answers in grid]
    nats = np.array([[0.0 if x is None else x * n for x, n in answers] for answers in known])
    tokens = np.array([[0.0 if x is None else float(n) for x, n in answers] for answers in known])
    if not tokens.any():
        return None
    mean = ratio_of(nats, tokens)
    return lambda drawn: np.exp(mean(drawn))


def _perplexity_ratio(ours: Statistic | None, target: Grid | None) -> Interval | None:
    theirs = None if target is None else _perplexity(target)
    if target is None or ours is None or theirs is None:
        return None
    return bootstrap(lambda drawn: ours(drawn) / theirs(drawn), len(target))


def _z_by_position(samples: Sequence[Sample]) -> list[list[float]]:
    """Up to the last position that enough answers reach."""
    at: dict[int, list[float]] = defaultdict(list)
    for sample in samples:
        for position, log_z in enumerate(sample.log_z):
            if log_z is not None:
                at[position].append(math.exp(min(log_z, 700.0)))
    enough = min(_FEWEST, len(samples))
    positions = itertools.takewhile(
        lambda values: len(values) >= enough, (at[i] for i in range(len(at)))
    )
    return [[float(z) for z in np.percentile(values, _Z_POINTS)] for values in positions]
