"""The laws the engine must follow, written naively in float64, and a test of samples against them.

A law over tokens is an array of probabilities; a law over responses is a dict from token tuples to
probabilities. A prefix is the tuple of response tokens so far, without the prompt.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats  # type: ignore[import-untyped]

Probs = NDArray[np.float64]
Response = tuple[int, ...]
Law = dict[Response, float]
NextProbs = Callable[[Response], Probs]


def softmax(logits: ArrayLike) -> Probs:
    """Probabilities of a row of logits; -inf has probability 0."""
    z = np.asarray(logits, dtype=np.float64)
    e = np.exp(z - z.max())
    return np.asarray(e / e.sum())


def goal(
    zp: ArrayLike,
    zq: ArrayLike | None = None,
    zr: ArrayLike | None = None,
    *,
    strength: float = 1.0,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    logit_bias: Mapping[int, float] | None = None,
) -> Probs:
    """The goal distribution: z* = zp + strength (zq - zr) + bias, softmax(z* / temperature), cut.

    The cuts are top_k, then top_p, then min_p, each on the renormalised rest; 0, 1 and 0 disable
    them. Temperature 0 is the argmax. Ties go to the lower id. A token that is -inf in any role
    has probability 0. Roles left out count as zero everywhere.
    """
    p = np.asarray(zp, dtype=np.float64)
    q, r = (np.zeros_like(p) if z is None else np.asarray(z, dtype=np.float64) for z in (zq, zr))
    alive = (p > -np.inf) & (q > -np.inf) & (r > -np.inf)
    z = np.full_like(p, -np.inf)
    z[alive] = p[alive] + strength * (q[alive] - r[alive])
    for token, bias in (logit_bias or {}).items():
        z[token] += bias
    if temperature == 0:
        return np.asarray(np.arange(len(z)) == z.argmax(), dtype=np.float64)
    return truncate(softmax(z / temperature), top_k=top_k, top_p=top_p, min_p=min_p)


def truncate(probs: Probs, *, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0) -> Probs:
    """Keeps the top_k, then the fewest that reach top_p, then those of min_p times the best."""
    order = np.argsort(-probs, kind="stable")
    kept = probs.copy()
    if top_k > 0:
        kept[order[top_k:]] = 0
        kept /= kept.sum()
    if top_p < 1:
        count = 1 + int(np.sum(np.cumsum(kept[order]) < top_p))
        kept[order[count:]] = 0
        kept /= kept.sum()
    kept[kept < min_p * kept.max()] = 0
    return np.asarray(kept / kept.sum())


@dataclass(frozen=True, slots=True)
class Emission:
    """Mass of each token when it is accepted, and when it is drawn after a rejection."""

    accepted: Probs
    rejected: Probs

    @property
    def law(self) -> Probs:
        """Law of the emitted token."""
        return self.accepted + self.rejected


def emission(weight: Probs, proposal: Probs, fallback: Probs) -> Emission:
    """Draw from `proposal`, accept with min(1, weight / proposal), else (weight - proposal)+.

    `fallback` is the law after a rejection where that residual is empty.
    """
    drawn = proposal > 0
    accept = np.zeros_like(proposal)
    accept[drawn] = np.minimum(1, weight[drawn] / proposal[drawn])
    accepted = proposal * accept
    residual = np.maximum(weight - proposal, 0)
    residual = residual / residual.sum() if residual.any() else fallback
    return Emission(accepted, (1 - accepted.sum()) * residual)


def exact(goal: Probs, proposal: Probs) -> Emission:
    """The `exact` rule; its law is the goal for any proposal."""
    return emission(goal, proposal, goal)


def speculative(p: Probs, q: Probs) -> Emission:
    """Leviathan's rule; its law is p."""
    return emission(p, q, p)


def shifted(p: Probs, q: Probs, r: Probs, strength: float = 1.0) -> Probs:
    """Weight p (q / r)^strength of each token, not normalised; 0 where any of the three is 0."""
    alive = (p > 0) & (q > 0) & (r > 0)
    weight = np.zeros_like(p)
    weight[alive] = p[alive] * (q[alive] / r[alive]) ** strength
    return weight


def paper(p: Probs, q: Probs, r: Probs, strength: float = 1.0) -> Emission:
    """The `paper` rule: as `exact` with the unnormalised weight; empty residual: the goal."""
    weight = shifted(p, q, r, strength)
    return emission(weight, q, weight / weight.sum())


def exact_law(goal: Probs, proposal: Probs) -> Probs:
    """Law of a token emitted by the `exact` rule."""
    return exact(goal, proposal).law


def speculative_law(p: Probs, q: Probs) -> Probs:
    """Law of a token emitted by the `speculative` rule."""
    return speculative(p, q).law


def paper_law(p: Probs, q: Probs, r: Probs, strength: float = 1.0) -> Probs:
    """Law of a token emitted by the `paper` rule at a drafted position."""
    return paper(p, q, r, strength).law


def enumerate_law(next_probs: NextProbs, eog: Collection[int], max_tokens: int) -> Law:
    """Law of whole responses, which end with a token of `eog` or after `max_tokens` tokens."""
    law: Law = {}
    open_prefixes: Law = {(): 1.0}
    while open_prefixes:
        prefix, mass = open_prefixes.popitem()
        if len(prefix) == max_tokens or (prefix and prefix[-1] in eog):
            law[prefix] = mass
            continue
        probs = next_probs(prefix)
        open_prefixes |= {(*prefix, int(t)): mass * float(probs[t]) for t in np.flatnonzero(probs)}
    return law


def enumerate_rounds(
    drafted: Callable[[Response], Emission],
    bonus: NextProbs,
    draft_length: Callable[[int], int],
    eog: Collection[int],
    max_tokens: int,
) -> Law:
    """Law of whole responses made in rounds of draft and verify.

    Needed where the law at a drafted position is not the law of the bonus token (`paper`).

    Args:
        drafted: How a token is emitted at a drafted position after a prefix.
        bonus: Law of the token after a round's last draft was accepted.
        draft_length: Drafts in a round that begins after so many response tokens.
        eog: Tokens that end a response.
        max_tokens: Longest response.
    """
    law: dict[Response, float] = defaultdict(float)
    states: dict[tuple[Response, int], float] = {((), draft_length(0)): 1.0}
    while states:
        following: dict[tuple[Response, int], float] = defaultdict(float)
        for (prefix, left), mass in states.items():
            if len(prefix) == max_tokens or (prefix and prefix[-1] in eog):
                law[prefix] += mass
                continue
            if left:
                step = drafted(prefix)
                moves = [(step.accepted, left - 1), (step.rejected, draft_length(len(prefix) + 1))]
            else:
                moves = [(bonus(prefix), draft_length(len(prefix) + 1))]
            for probs, remaining in moves:
                for token in np.flatnonzero(probs):
                    following[(*prefix, int(token)), remaining] += mass * float(probs[token])
        states = following
    return dict(law)


@dataclass(frozen=True, slots=True)
class BlockDecisions:
    """What block verification does with one chain of drafts."""

    heights: list[float]
    """h_i: given that no longer one is accepted, the first i drafts are with this probability."""
    corrections: list[Probs]
    """Law of the token after i accepted drafts, for each i below the number of drafts."""
    masses: list[float]
    """R_i: what each of them was before it was normalised."""

    def accepted(self) -> list[float]:
        """Probability that just i drafts are accepted, for i from 0 to all."""
        left, law = 1.0, []
        for height in [*reversed(self.heights), 1.0]:
            law.append(left * height)
            left *= 1 - height
        return law[::-1]


def block_decisions(
    drafted: Response, goals: list[Probs], proposals: list[Probs]
) -> BlockDecisions:
    """Sun et al., ICLR 2025, Algorithm 2, of drafts whose i-th row is given the first i of them."""
    carried = [1.0]
    for x, goal_row, proposal in zip(drafted, goals, proposals, strict=True):
        carried.append(min(carried[-1] * float(goal_row[x] / proposal[x]), 1.0))
    heights, corrections, masses = [], [], []
    for p, goal_row, proposal in zip(carried, goals, proposals, strict=False):
        residual = np.maximum(p * goal_row - proposal, 0)
        mass = float(residual.sum())
        heights.append(mass / (mass + 1 - p) if p < 1 else 1.0)
        corrections.append(residual / mass if mass > 0 else goal_row)
        masses.append(mass)
    return BlockDecisions([*heights[1:], carried[-1]], corrections, masses)


def chains(proposal: NextProbs, length: int, eog: Collection[int]) -> Law:
    """Law of the drafts of a round: a chain ends at a token of `eog`."""
    return enumerate_law(proposal, eog, length)


def block_law(
    goal: NextProbs, proposal: NextProbs, length: int, eog: Collection[int]
) -> tuple[Law, float]:
    """Law of responses of length + 1 tokens that begin with a round of block verification.

    What the round leaves open is completed by the goal.

    Returns:
        The law, and how many drafts are accepted on average.
    """
    law: dict[Response, float] = defaultdict(float)
    accepted = 0.0
    for drafted, mass in chains(proposal, length, eog).items():
        rows = [drafted[:i] for i in range(len(drafted))]
        decisions = block_decisions(drafted, [goal(r) for r in rows], [proposal(r) for r in rows])
        for i, share in enumerate(decisions.accepted()):
            accepted += mass * share * i
            if i == len(drafted):
                begun = {drafted: mass * share}
            else:
                corrected = decisions.corrections[i]
                begun = {
                    (*drafted[:i], int(t)): mass * share * float(corrected[t])
                    for t in np.flatnonzero(corrected)
                }
            for response, amount in begun.items():
                for end, probability in completions(goal, response, length + 1, eog).items():
                    law[end] += amount * probability
    return dict(law), accepted


def completions(goal: NextProbs, begun: Response, length: int, eog: Collection[int]) -> Law:
    """Law of the responses that the goal makes of one that was begun."""
    if begun and begun[-1] in eog:
        return {begun: 1.0}
    rest = enumerate_law(lambda more: goal((*begun, *more)), eog, length - len(begun))
    return {(*begun, *more): probability for more, probability in rest.items()}


def accepted_token_by_token(
    goal: NextProbs, proposal: NextProbs, length: int, eog: Collection[int]
) -> float:
    """How many drafts the `exact` rule accepts on average."""
    accepted = 0.0
    for drafted, mass in chains(proposal, length, eog).items():
        left = mass
        for i, x in enumerate(drafted):
            left *= min(1.0, float(goal(drafted[:i])[x] / proposal(drafted[:i])[x]))
            accepted += left
    return accepted


def chi_square(
    observed: Mapping[Response, int], law: Mapping[Response, float], n: int, *, least: float = 5.0
) -> float:
    """P-value of Pearson's test that `n` observed responses follow `law`.

    Rare responses are pooled, rarest first, into cells that each expect at least `least`. An
    observation outside the support has p-value 0.

    Raises:
        ValueError: If `observed` does not count `n` responses, or `law` does not sum to 1.
    """
    if sum(observed.values()) != n:
        raise ValueError(f"observed counts {sum(observed.values())} responses, not {n}")
    if abs(sum(law.values()) - 1) > 1e-9:
        raise ValueError(f"law sums to {sum(law.values())}")
    if any(count and law.get(response, 0) <= 0 for response, count in observed.items()):
        return 0.0
    cells = [[0.0, 0.0]]
    for response in sorted(law, key=law.__getitem__):
        if cells[-1][0] >= least:
            cells.append([0.0, 0.0])
        cells[-1][0] += n * law[response]
        cells[-1][1] += observed.get(response, 0)
    if len(cells) > 1 and cells[-1][0] < least:
        expected, seen = cells.pop()
        cells[-1] = [cells[-1][0] + expected, cells[-1][1] + seen]
    statistic = sum((seen - expected) ** 2 / expected for expected, seen in cells)
    return float(stats.chi2.sf(statistic, len(cells) - 1)) if len(cells) > 1 else 1.0
