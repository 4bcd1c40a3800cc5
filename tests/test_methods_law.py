"""Methods draw their answers from the laws that follow from their definitions.

The laws are enumerated, or computed by brute force, over small tables. Every check is Pearson's
chi-square with fixed seeds; at fewer than 20 checks with a threshold of 1e-9 each, correct methods
with other seeds fail this file with probability below 1e-6.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from dataclasses import replace
from math import comb, exp, log, prod
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import Decoder, TableModel
from rewardshift.methods import ARGS, CARDS, GSI, RSD, STAND, BestOfN, Question, soft_best_of_n
from tests.support import enumerate_law as oracle
from tests.support.precision import of_normaliser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rewardshift.methods import Method

pytestmark = pytest.mark.statistical

P_VALUE = 1e-9
PIECES = ("", "a", "b", "c")
END = 0
PROMPT = [1]


def rows(seed: int, scale: float = 1.0) -> np.ndarray:
    """Logits after each token."""
    return scale * np.random.default_rng(seed).normal(size=(len(PIECES),) * 2).astype(np.float32)


def decoder(*tables: np.ndarray) -> Decoder:
    facts: dict[str, Any] = {"end_of_generation": {END}, "pieces": list(PIECES)}
    return Decoder.from_models(
        *(TableModel(t, order=1, max_sequences=70, context_size=10**5, **facts) for t in tables)
    )


def next_law(table: np.ndarray, temperature: float = 1.0) -> oracle.NextProbs:
    return lambda prefix: oracle.softmax(table[[*PROMPT, *prefix][-1]] / temperature)


def text(response: Sequence[int]) -> str:
    return "".join(PIECES[token] for token in response)


def reward_of(response: str) -> float:
    """Another number for nearly every text, from 0 to 1, with ups and downs as it grows."""
    value = sum((ord(letter) - 90) * (i + 2) ** 2 for i, letter in enumerate(response))
    return (value * 37 % 101) / 101


def reward(exchanges: Sequence[tuple[str, str]]) -> list[float]:
    return [reward_of(response) for _, response in exchanges]


def observe(
    method: Method, d: Decoder, n: int, *, max_tokens: int, temperature: float = 1.0
) -> Counter[tuple[int, ...]]:
    first = Question("?", PROMPT, seed=0, max_tokens=max_tokens, temperature=temperature)
    return Counter(method.answer(d, replace(first, seed=seed)).tokens for seed in range(n))


def law_of_the_best(
    law: oracle.Law, value: Callable[[oracle.Response], float], n: int
) -> oracle.Law:
    """Of the first best among n draws: the n-th power of a distribution function, in steps."""
    mass: dict[float, float] = defaultdict(float)
    for response, probability in law.items():
        mass[value(response)] += probability
    below, found = 0.0, {}
    for level in sorted(mass):
        up_to = below + mass[level]
        for response, probability in law.items():
            if value(response) == level:
                found[response] = (up_to**n - below**n) * probability / mass[level]
        below = up_to
    return found


def law_of_soft_choice(
    law: oracle.Law, weight: Callable[[oracle.Response], float], n: int
) -> oracle.Law:
    """Of one of n draws, chosen in proportion to a weight, by enumerating what may be drawn."""
    found: dict[oracle.Response, float] = defaultdict(float)
    responses = list(law)
    for counts in itertools.product(range(n + 1), repeat=len(responses)):
        if sum(counts) != n:
            continue
        probability, left = 1.0, n
        for response, count in zip(responses, counts, strict=True):
            probability *= comb(left, count) * law[response] ** count
            left -= count
        weights = {r: c * weight(r) for r, c in zip(responses, counts, strict=True)}
        for response, share in weights.items():
            found[response] += probability * share / sum(weights.values())
    return dict(found)


def tilted(law: oracle.Law, weight: Callable[[oracle.Response], float]) -> oracle.Law:
    total = sum(p * weight(response) for response, p in law.items())
    return {response: p * weight(response) / total for response, p in law.items()}


def distance(a: Mapping[oracle.Response, float], b: Mapping[oracle.Response, float]) -> float:
    return 0.5 * sum(abs(a.get(x, 0) - b.get(x, 0)) for x in {*a, *b})


# --- Best-of-N ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "temperature"), [(1, 1.0), (4, 0.7)])
def test_best_of_n_follows_the_law_of_the_largest_of_n(n: int, temperature: float) -> None:
    table = rows(1)
    law = oracle.enumerate_law(next_law(table, temperature), {END}, 3)
    best = law_of_the_best(law, lambda r: reward_of(text(r)), n)
    assert n == 1 or distance(best, law) > 0.3
    seen = observe(
        BestOfN(reward, n=n), decoder(table), 2500, max_tokens=3, temperature=temperature
    )
    assert oracle.chi_square(seen, best, 2500) > P_VALUE


def test_soft_best_of_n_follows_its_own_law_and_with_many_samples_the_tilted_one() -> None:
    table = rows(2)
    law = oracle.enumerate_law(next_law(table), {END}, 1)

    def weight(response: oracle.Response) -> float:
        return exp(3 * reward_of(text(response)))

    few = law_of_soft_choice(law, weight, 3)
    goal = tilted(law, weight)
    assert distance(few, goal) > 0.05
    seen = observe(soft_best_of_n(reward, n=3, beta=3.0), decoder(table), 3000, max_tokens=1)
    assert oracle.chi_square(seen, few, 3000) > P_VALUE
    assert oracle.chi_square(seen, goal, 3000) < P_VALUE
    many = law_of_soft_choice(law, weight, 48)
    assert distance(many, goal) < distance(few, goal) / 8
    seen = observe(soft_best_of_n(reward, n=48, beta=3.0), decoder(table), 800, max_tokens=1)
    assert oracle.chi_square(seen, many, 800) > P_VALUE


def test_stand_follows_the_law_of_best_of_n() -> None:
    table = rows(1)
    law = oracle.enumerate_law(next_law(table), {END}, 3)
    best = law_of_the_best(law, lambda r: reward_of(text(r)), 3)
    method = STAND(reward, n=3, num_draft_tokens=4, tree_width=2)
    seen = observe(method, decoder(table), 1500, max_tokens=3)
    assert oracle.chi_square(seen, best, 1500) > P_VALUE


# --- ARGS -----------------------------------------------------------------------------------------


def args_scores(table: np.ndarray, prefix: Sequence[int], k: int, w: float) -> dict[int, float]:
    """By the definition: the logit, and the reward of the prefix with the token."""
    logits = table[[*PROMPT, *prefix][-1]]
    top = np.argsort(-logits, kind="stable")[:k]
    return {int(t): float(logits[t]) + w * reward_of(text([*prefix, t])) for t in top}


@pytest.mark.parametrize(("k", "w"), [(1, 5.0), (2, 3.0), (4, 3.0), (10, 0.0)])
def test_greedy_args_takes_the_best_score_token_by_token(k: int, w: float) -> None:
    table = rows(3)
    expected: list[int] = []
    while len(expected) < 6 and expected[-1:] != [END]:
        found = args_scores(table, expected, k, w)
        expected.append(max(found, key=found.__getitem__))
    with decoder(table) as d:
        question = Question("?", PROMPT, seed=0, max_tokens=6, temperature=1.0)
        answer = ARGS(reward, k=k, w=w).answer(d, question)
        assert answer.tokens == tuple(expected)
        logprobs = [np.log(next_law(table)(tuple(expected[:i]))[t]) for i, t in enumerate(expected)]
        close = of_normaliser(len(PIECES))
        assert answer.target_logprobs == pytest.approx(logprobs, abs=close)


def test_stochastic_args_draws_from_the_scores() -> None:
    table, temperature = rows(4), 0.8

    def law(prefix: oracle.Response) -> oracle.Probs:
        probs = np.zeros(len(PIECES))
        found = args_scores(table, prefix, 3, 2.0)
        probs[list(found)] = oracle.softmax(np.array(list(found.values())) / temperature)
        return probs

    expected = oracle.enumerate_law(law, {END}, 3)
    method = ARGS(reward, k=3, w=2.0, stochastic=True)
    seen = observe(method, decoder(table), 2000, max_tokens=3, temperature=temperature)
    assert oracle.chi_square(seen, expected, 2000) > P_VALUE
    cold = observe(method, decoder(table), 3, max_tokens=3, temperature=0.0)
    assert len(cold) == 1


# --- CARDS ----------------------------------------------------------------------------------------

TOY = {"r_star": 0.45, "alpha": 0.2, "beta": 0.2, "least": 1, "most": 2, "rejections": 2}


def entropy(probs: oracle.Probs) -> float:
    return float(-np.sum(probs * np.log(probs)))


class CardsLaw:
    """By the definition, with the segments' laws enumerated."""

    def __init__(
        self, table: np.ndarray, empty: float, tau_u: float, longest: int, temperature: float
    ) -> None:
        self.draw, self.raw = next_law(table, temperature), next_law(table)
        self.empty, self.tau_u, self.longest = empty, tau_u, longest

    def reward(self, prefix: oracle.Response) -> float:
        return reward_of(text(prefix)) if text(prefix) else self.empty

    def segment_ends(self, prefix: oracle.Response, size: int) -> bool:
        full = size == TOY["most"] or len(prefix) == self.longest or prefix[-1:] == (END,)
        return size > 0 and (full or entropy(self.raw(prefix)) >= self.tau_u)

    def segments(self, start: oracle.Response) -> oracle.Law:
        found: oracle.Law = {}
        growing: oracle.Law = {start: 1.0}
        while growing:
            prefix, mass = growing.popitem()
            if self.segment_ends(prefix, len(prefix) - len(start)):
                found[prefix] = mass
            else:
                probs = enumerate(self.draw(prefix))
                growing |= {(*prefix, t): mass * float(p) for t, p in probs}
        return found

    def accept(self, prefix: oracle.Response) -> float:
        first = (1 - TOY["alpha"]) * self.empty + TOY["alpha"] * TOY["r_star"]
        tau = first + len(prefix) * (TOY["r_star"] - first) / self.longest
        return min(1.0, exp((self.reward(prefix) - min(TOY["r_star"], tau)) / TOY["beta"]))

    def choice(self, start: oracle.Response) -> oracle.Law:
        law, attempts = self.segments(start), int(TOY["rejections"])
        taken = {s: p * self.accept(s) for s, p in law.items()}
        left = {s: p - taken[s] for s, p in law.items()}
        tries = sum(sum(left.values()) ** i for i in range(attempts))
        found = defaultdict(float, {s: p * tries for s, p in taken.items()})
        # All rejected: the best of those and of one more.
        for drawn in itertools.product(law, repeat=attempts + 1):
            mass = law[drawn[-1]] * prod(left[s] for s in drawn[:-1])
            found[max(drawn, key=self.reward)] += mass
        return dict(found)

    def law(self) -> oracle.Law:
        law: dict[oracle.Response, float] = defaultdict(float)
        growing: dict[oracle.Response, float] = {(): 1.0}
        while growing:
            start, mass = growing.popitem()
            for segment, p in self.choice(start).items():
                ended = segment[-1] == END or len(segment) == self.longest
                if ended:
                    law[segment] += mass * p
                else:
                    growing[segment] = growing.get(segment, 0.0) + mass * p
        return dict(law)


@pytest.mark.parametrize("empty", [0.0, 0.9])  # below r* and above: then tau falls to r*
def test_cards_follows_the_law_of_its_segments(empty: float) -> None:
    table, temperature = rows(8, scale=1.5), 0.9
    entropies = sorted(entropy(next_law(table)((t,))) for t in range(1, len(PIECES)))
    tau_u = (entropies[0] + entropies[1]) / 2  # some segments end early, some do not
    law = CardsLaw(table, empty, tau_u, 3, temperature).law()
    plain = oracle.enumerate_law(next_law(table, temperature), {END}, 3)
    assert distance(law, plain) > 0.1

    def reward_with(exchanges: Sequence[tuple[str, str]]) -> list[float]:
        return [reward_of(response) if response else empty for _, response in exchanges]

    method = CARDS(reward_with, tau_u=tau_u, **TOY)  # type: ignore[arg-type]
    seen = observe(method, decoder(table), 3500, max_tokens=3, temperature=temperature)
    assert oracle.chi_square(seen, law, 3500) > P_VALUE
    assert oracle.chi_square(seen, plain, 3500) < P_VALUE


# --- GSI ------------------------------------------------------------------------------------------


def gsi_step_law(
    target: oracle.Probs, draft: oracle.Probs, n: int, beta: float, u: float, *, tilt: bool
) -> oracle.Law:
    """Of a step of one token, by enumerating what may be drawn; r~ decides, or R alone."""
    ids = range(len(PIECES))
    base = {(t,): float(target[t]) for t in ids}
    small = {(t,): float(draft[t]) for t in ids}

    def value(step: oracle.Response) -> float:
        return reward_of(text(step)) + tilt * log(base[step] / small[step]) / beta

    chosen = law_of_soft_choice(small, lambda s: exp(beta * value(s)), n)
    own = law_of_soft_choice(base, lambda s: exp(beta * reward_of(text(s))), n)
    rejected = sum(p for s, p in chosen.items() if value(s) < u)
    return {s: (chosen[s] if value(s) >= u else 0.0) + rejected * own[s] for s in base}


@pytest.mark.parametrize("kind", [GSI, RSD])
def test_gsi_and_rsd_choose_steps_by_their_definitions(kind: type[GSI]) -> None:
    target, draft, temperature = rows(3), rows(4), 0.6  # where the tilt's temperature matters
    laws = [next_law(t, temperature)(()) for t in (target, draft)]
    law = gsi_step_law(laws[0], laws[1], 3, 4.0, 0.5, tilt=kind is GSI)
    other = gsi_step_law(laws[0], laws[1], 3, 4.0, 0.5, tilt=kind is not GSI)
    assert distance(law, other) > 0.2
    method = kind(reward, n=3, beta=4.0, u=0.5)
    seen = observe(method, decoder(target, draft), 2000, max_tokens=1, temperature=temperature)
    assert oracle.chi_square(seen, law, 2000) > P_VALUE
    assert oracle.chi_square(seen, other, 2000) < P_VALUE


def test_gsi_with_many_candidates_approaches_the_target_tilted_by_the_reward() -> None:
    target, draft = rows(6), rows(7)
    laws = [next_law(table)(()) for table in (target, draft)]
    base, small = ({(t,): float(p) for t, p in enumerate(law)} for law in laws)
    goal = tilted(base, lambda s: exp(3 * reward_of(text(s))))
    without = tilted(small, lambda s: exp(3 * reward_of(text(s))))
    assert distance(goal, without) > 0.1
    many, few = (gsi_step_law(*laws, n, 3.0, -100.0, tilt=True) for n in (40, 4))
    assert distance(many, goal) < distance(few, goal) / 8
    method = GSI(reward, n=40, beta=3.0, u=-100.0)
    seen = observe(method, decoder(target, draft), 800, max_tokens=1)
    assert oracle.chi_square(seen, many, 800) > P_VALUE
    assert oracle.chi_square(seen, without, 800) < P_VALUE
