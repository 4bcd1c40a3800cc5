"""The mathematics on arrays: goals, laws, decisions and random numbers against naive oracles."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from rewardshift import _core
from tests.support import enumerate_law as oracle
from tests.support.precision import DOUBLE, FLOAT32, of_log_z, of_paper_law

pytestmark = pytest.mark.numeric

THOROUGH = settings(derandomize=True, deadline=None, max_examples=400)
QUICK = settings(derandomize=True, deadline=None, max_examples=100)
LARGEST_UNIFORM = 1 - 2.0**-53
DECIDED = 1e-9  # of laws by decide(): its residuals, 1e-6 or more here, are off by 10 * 2^-53
STRENGTHS = st.sampled_from([-1.5, -1.0, 0.0, 0.25, 0.5, 1.0, 1.0, 1.0, 2.0, 3.0])
TEMPERATURES = st.sampled_from([0.0, 0.1, 0.5, 0.8, 1.0, 1.0, 1.7, 5.0])
CUTS = st.fixed_dictionaries(
    {},
    optional={
        "top_k": st.integers(1, 14),
        "top_p": st.floats(0.05, 0.999),
        "min_p": st.floats(0.001, 0.9),
    },
)

# --- what hypothesis draws ----------------------------------------------------------------------


@dataclass
class Roles:
    """Float32 logits of the three roles."""

    p: np.ndarray
    q: np.ndarray
    r: np.ndarray

    def probs(self, temperature: float = 1.0) -> tuple[np.ndarray, ...]:
        rows = (np.asarray(row, dtype=np.float64) for row in (self.p, self.q, self.r))
        return tuple(oracle.softmax(row / temperature) for row in rows)


@st.composite
def rows(draw, n: int, *, limit: float = 8.0, masked: bool = False) -> np.ndarray:
    logits = st.floats(-limit, limit, width=32)
    row = np.array(draw(st.lists(logits, min_size=n, max_size=n)), dtype=np.float32)
    if masked:
        row[list(draw(st.sets(st.integers(1, n - 1), max_size=n // 3)))] = -np.inf
    return row


@st.composite
def roles(draw, *, limit: float = 8.0, masked: bool = False, least: int = 1) -> Roles:
    n = draw(st.integers(max(least, 2 if masked else 1), 24))
    return Roles(*(draw(rows(n, limit=limit, masked=masked)) for _ in range(3)))


@st.composite
def proposals(draw, n: int) -> np.ndarray:
    """Any distribution to draw drafts from, with zeros."""
    g = np.array(draw(st.lists(st.floats(0, 1), min_size=n, max_size=n)))
    g[g < 1e-3] = 0
    assume(g.sum() > 0)
    return g / g.sum()


def is_on_the_edge(given: Roles, strength: float, temperature: float, bias: dict, cuts: dict):
    """Whether rounding, not mathematics, decides which tokens are cut or which is the best."""
    z = {"strength": strength, "logit_bias": bias}
    if temperature == 0:
        top = np.sort(oracle.goal(given.p, given.q, given.r, **z))[-2:]
        return len(top) == 2 and top[1] - top[0] < 1e-9
    z["temperature"] = temperature
    probs = np.sort(oracle.goal(given.p, given.q, given.r, **z))[::-1]
    k = cuts.get("top_k", 0)
    if 0 < k < len(probs) and math.isclose(probs[k - 1], probs[k], rel_tol=1e-9):
        return True
    if k:
        probs = probs[:k] / probs[:k].sum()
    if "top_p" in cuts:
        cumulative = np.cumsum(probs)
        if np.abs(cumulative - cuts["top_p"]).min() < 1e-9:
            return True
        count = 1 + int(np.sum(cumulative < cuts["top_p"]))
        if count < len(probs) and math.isclose(probs[count - 1], probs[count], rel_tol=1e-9):
            return True
    ratios = probs / probs[0]
    return "min_p" in cuts and bool(np.isclose(ratios, cuts["min_p"], rtol=1e-9, atol=0).any())


def core_goal(given: Roles, strength: float, *, logit_bias: dict | None = None, **shaping):
    pairs = list((logit_bias or {}).items())
    return _core.goal(given.p, given.q, given.r, strength=strength, logit_bias=pairs, **shaping)


# --- the goal -----------------------------------------------------------------------------------


@THOROUGH
@given(data=st.data(), given=roles(masked=True), strength=STRENGTHS, temperature=TEMPERATURES)
def test_goal_is_the_shaped_shift(data, given, strength, temperature):
    n = len(given.p)
    bias = data.draw(st.dictionaries(st.integers(0, n - 1), st.floats(-6, 6), max_size=3))
    cuts = data.draw(CUTS)
    assume(not is_on_the_edge(given, strength, temperature, bias, cuts))
    shaping = {"temperature": temperature, "logit_bias": bias, **cuts}
    if strength == 0:  # then draft and reference have no say, not even by their masks
        expected = oracle.goal(given.p, **shaping)
    else:
        expected = oracle.goal(given.p, given.q, given.r, strength=strength, **shaping)
    probs, _, _ = core_goal(given, strength, **shaping)
    np.testing.assert_allclose(probs, expected, rtol=0, atol=DOUBLE)
    assert abs(probs.sum() - 1) < DOUBLE


@THOROUGH
@given(
    data=st.data(),
    given=roles(limit=4, masked=True),
    strength=STRENGTHS,
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_z_and_the_papers_scale_count_the_bias_as_part_of_p(data, given, strength, temperature):
    n = len(given.p)
    bias = data.draw(st.dictionaries(st.integers(0, n - 1), st.floats(-3, 3), max_size=3))
    cuts = data.draw(CUTS)
    assume(not is_on_the_edge(given, strength, temperature, bias, cuts))
    p, q, r = given.probs(temperature)
    if strength == 0:
        q = r = np.ones(n)
    for token, amount in bias.items():
        p[token] *= math.exp(amount / temperature)
    weight = oracle.shifted(p, q, r, strength)
    probs, log_z, scale = core_goal(
        given, strength, temperature=temperature, logit_bias=bias, **cuts
    )
    close = of_log_z(n, strength)
    assert log_z == pytest.approx(math.log(weight.sum()), abs=close)
    assert scale == pytest.approx(weight[probs > 0].sum(), rel=close)


@QUICK
@given(given=roles(masked=True))
def test_without_a_shift_draft_and_reference_are_not_read(given):
    alone, log_z, scale = _core.goal(given.p, None, None, strength=0.0)
    nan = np.full_like(given.p, np.nan)
    beside, _, _ = _core.goal(given.p, nan, nan, strength=0.0)
    np.testing.assert_array_equal(alone, beside)
    np.testing.assert_allclose(alone, given.probs()[0], rtol=0, atol=DOUBLE)
    assert log_z == pytest.approx(0, abs=of_log_z(len(alone), 0))
    assert scale == pytest.approx(1, abs=of_log_z(len(alone), 0))


@pytest.mark.parametrize("role", ["p", "q", "r"])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("strength", [-1.0, 1.0, 2.0])
def test_token_impossible_in_any_role_is_impossible(role, temperature, strength):
    rng = np.random.default_rng(3)
    given = Roles(*rng.normal(size=(3, 9)).astype(np.float32))
    best = int(core_goal(given, strength, temperature=temperature)[0].argmax())
    getattr(given, role)[best] = -np.inf
    probs, log_z, _ = core_goal(given, strength, temperature=temperature)
    assert probs[best] == 0
    assert probs.sum() == pytest.approx(1, abs=DOUBLE)
    assert math.isfinite(log_z)


@pytest.mark.parametrize("role", ["p", "q", "r"])
@pytest.mark.parametrize(
    "row", [[np.nan, 0, 0], [0, np.inf, 0], [-np.inf] * 3], ids=["nan", "inf", "all -inf"]
)
@pytest.mark.parametrize("temperature", [0.0, 1.0, 0.5])
def test_row_that_is_no_distribution_has_no_finite_z(role, row, temperature):
    given = Roles(*np.zeros((3, 3), dtype=np.float32))
    setattr(given, role, np.array(row, dtype=np.float32))
    assert not math.isfinite(core_goal(given, 1.0, temperature=temperature)[1])


def test_roles_without_a_common_token_have_no_finite_z():
    p, q = (np.array(row, dtype=np.float32) for row in ([0, -np.inf], [-np.inf, 0]))
    assert not math.isfinite(_core.goal(p, q, np.zeros(2, dtype=np.float32))[1])


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_greedy_ties_go_to_the_lowest_id(strength):
    p, q, r = (
        np.array(row, dtype=np.float32) for row in ([1, 3, 2, 1], [0, 0, 2, 2], [2, 1, 2, 0])
    )
    best = {0.0: 1, 1.0: 3}[strength]  # z* is [-1, 2, 2, 3] with the shift
    assert core_goal(Roles(p, q, r), strength, temperature=0.0)[0].argmax() == best
    p[2] = 3
    assert _core.goal(p, None, None, strength=0.0, temperature=0.0)[0].tolist() == [0, 1, 0, 0]
    for n in (1, 17, 600):
        flat = _core.goal(np.zeros(n, np.float32), None, None, strength=0.0, temperature=0.0)[0]
        assert flat.argmax() == 0
        assert flat.sum() == 1


@pytest.mark.parametrize("temperature", [0.0, 1e-30, 1e-6, 0.05, 1.0, 50.0, 1e6, 1e300])
def test_extreme_logits_and_temperatures_give_a_distribution(temperature):
    p = np.array([1e4, -1e4, 9999, 0, 9000], dtype=np.float32)
    q = np.array([-1e4, 1e4, -9998, 1e4, -9000], dtype=np.float32)
    r = np.array([0, 1e4, 1, 1e4, 0], dtype=np.float32)
    for strength in (0.0, 1.0, -1.0):
        probs = core_goal(Roles(p, q, r), strength, temperature=temperature)[0]
        # Temperatures that no float logits could tell from 0 are 0.
        t = temperature if temperature >= 1e-6 else 0
        expected = oracle.goal(p, q, r, strength=strength, temperature=t)
        np.testing.assert_allclose(probs, expected, rtol=0, atol=DOUBLE)


@pytest.mark.parametrize("temperature", [1e-305, 5e-324])
def test_smallest_temperatures_are_greedy(temperature):
    p = np.array([1e4, -1e4, 9999], dtype=np.float32)
    probs, log_z, _ = _core.goal(p, None, None, strength=0.0, temperature=temperature)
    assert probs.tolist() == [1, 0, 0]
    assert math.isfinite(log_z)


LARGE = 49152
LARGE_CUTS = (
    {},
    {"top_k": 1},
    {"top_k": 40},
    {"top_k": 1000},
    {"top_k": 60000},
    {"top_p": 0.1},
    {"top_p": 0.9},
    {"top_p": 0.9999},
    {"min_p": 0.05},
    {"top_k": 40, "top_p": 0.9},
    {"top_k": 3000, "top_p": 0.5, "min_p": 0.02},
    {"top_p": 0.95, "min_p": 0.001, "temperature": 0.6},
    {"temperature": 0.0},
)


def large(kind: str) -> Roles:
    """A real model's size. Where tied, thousands of tokens share each value of z*, exactly."""
    logits = 2.5 * np.random.default_rng(5).normal(size=(3, LARGE))
    return Roles(*(np.round(logits * 4) / 4 if kind == "tied" else logits).astype(np.float32))


@pytest.mark.parametrize("kind", ["smooth", "tied"])
@pytest.mark.parametrize("strength", [0.0, 1.0, 2.0])
def test_goal_over_a_large_vocabulary_keeps_just_the_oracles_tokens(kind, strength):
    given = large(kind)
    for cuts in LARGE_CUTS:
        expected = oracle.goal(given.p, given.q, given.r, strength=strength, **cuts)
        probs, _, _ = core_goal(given, strength, **cuts)
        kept = (np.flatnonzero(row).tolist() for row in (probs, expected))
        assert next(kept) == next(kept), cuts
        np.testing.assert_allclose(probs, expected, rtol=DOUBLE, err_msg=str(cuts))


def test_law_of_exact_over_a_large_vocabulary_is_the_goal():
    given = large("smooth")
    goal, _, _ = core_goal(given, 1.0)
    law = _core.law(goal, given.probs()[1], 1.0)
    np.testing.assert_allclose(law, goal, rtol=0, atol=DOUBLE)


def test_top_k_keeps_the_lowest_ids_among_equals():
    p = np.zeros(3000, dtype=np.float32)
    p[2500] = 1
    probs = _core.goal(p, None, None, strength=0.0, top_k=5)[0]
    assert np.flatnonzero(probs).tolist() == [0, 1, 2, 3, 2500]


# --- laws ---------------------------------------------------------------------------------------


@THOROUGH
@given(
    data=st.data(),
    given=roles(masked=True),
    strength=STRENGTHS,
    temperature=TEMPERATURES,
    cuts=CUTS,
)
def test_law_of_exact_is_the_goal_for_any_proposal(data, given, strength, temperature, cuts):
    goal, _, _ = core_goal(given, strength, temperature=temperature, **cuts)
    g = data.draw(proposals(len(goal)))
    np.testing.assert_allclose(_core.law(goal, g, 1.0), goal, rtol=0, atol=DOUBLE)
    np.testing.assert_allclose(_core.law(goal, goal, 1.0), goal, rtol=0, atol=DOUBLE)


@QUICK
@given(given=roles(masked=True))
def test_law_of_speculative_is_the_target(given):
    p, q, _ = given.probs()
    goal, _, _ = _core.goal(given.p, None, None, strength=0.0)
    np.testing.assert_allclose(_core.law(goal, q, 1.0), p, rtol=0, atol=DOUBLE)


@THOROUGH
@given(
    given=roles(limit=3, masked=True, least=2),
    strength=st.sampled_from([-1.0, 0.5, 1.0, 1.0, 2.0]),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    cuts=CUTS,
)
def test_law_of_paper_is_its_stated_law(given, strength, temperature, cuts):
    assume(not is_on_the_edge(given, strength, temperature, {}, cuts))
    p, q, r = given.probs(temperature)
    goal, _, scale = core_goal(given, strength, temperature=temperature, **cuts)
    weight = oracle.shifted(p, q, r, strength) * (goal > 0)
    assume(np.maximum(weight - q, 0).sum() > 1e-3)  # else rounding decides what the residual is
    expected = oracle.emission(weight, q, goal).law
    law = _core.law(goal, q, weight.sum())
    close = of_paper_law(DOUBLE, weight, q)
    assert (np.abs(law - expected) <= close).all()
    off = np.abs(_core.law(goal, q, scale) - expected)
    assert (off <= of_paper_law(of_log_z(len(goal), strength), weight, q)).all()
    if not cuts:
        stated = oracle.paper_law(p, q, r, strength)
        assert (np.abs(law - stated) <= close).all()
        # law - goal is a (1 - 1/Z) times the difference of two distributions, a the mass accepted.
        most = np.minimum(weight, q).sum() * abs(1 - 1 / weight.sum())
        assert 0.5 * np.abs(law - goal).sum() <= most + close.sum()


@QUICK
@given(given=roles(limit=3, least=2))
def test_paper_is_exact_where_z_is_one(given):
    _, q, r = given.probs()
    ratio = q / r
    low, high = ratio.argmin(), ratio.argmax()
    assume(ratio[low] < 0.99)
    # p mixes the tokens that lie below and above one so that its mean ratio is one.
    p = given.probs()[0]
    mean = float(p @ ratio)
    end = low if mean > 1 else high
    share = (mean - 1) / (mean - ratio[end])
    assume(0 <= share < 0.99)
    p = (1 - share) * p
    p[end] += share
    logits = Roles(*(np.log(row).astype(np.float32) for row in (p, q, r)))
    goal, log_z, scale = core_goal(logits, 1.0)
    largest = max(float(np.abs(row).max()) for row in (logits.p, logits.q, logits.r))
    close = 3 * FLOAT32 * largest + of_log_z(len(goal))  # logits that were rounded, of three roles
    assert log_z == pytest.approx(0, abs=close)
    law = _core.law(goal, logits.probs()[1], scale)
    np.testing.assert_allclose(law, goal, rtol=0, atol=close)


def test_paper_misses_the_goal_on_random_toys_as_stated():
    """math.md: V = 50, Z_1 between 0.5 and 2.1, 0.039 a position on average, 0.30 at worst."""
    rng = np.random.default_rng(2025)
    z, paper_misses, exact_misses = [], [], []
    for _ in range(1000):
        small = rng.normal(size=50)
        target, aligned = small + 0.75 * rng.normal(size=(2, 50))
        given = Roles(*np.array([target, aligned, small], dtype=np.float32))
        goal, log_z, scale = core_goal(given, 1.0)
        q = given.probs()[1]
        z.append(math.exp(log_z))
        paper_misses.append(0.5 * np.abs(_core.law(goal, q, scale) - goal).sum())
        exact_misses.append(0.5 * np.abs(_core.law(goal, q, 1.0) - goal).sum())
    assert 0.4 < min(z) < 0.75
    assert 1.5 < max(z) < 2.6
    assert np.median(z) == pytest.approx(1, abs=0.05)
    assert np.mean(paper_misses) == pytest.approx(0.039, abs=0.006)
    assert 0.2 < max(paper_misses) < 0.45
    assert max(exact_misses) < DOUBLE


def test_empty_residual_is_corrected_from_the_goal():
    goal, g = np.array([0.25, 0.75, 0.0]), np.array([0.5, 0.25, 0.25])
    scale = 1 / 3  # c pi* is at most g everywhere
    token, accepted, empty = _core.decide(2, goal, g, scale, 0.0, 0.2)
    assert (token, accepted, empty) == (0, False, True)
    assert _core.decide(2, goal, g, scale, 0.0, 0.3) == (1, False, True)
    kept = np.array([1 / 12, 1 / 4, 0])
    np.testing.assert_allclose(_core.law(goal, g, scale), kept + (1 - kept.sum()) * goal)


def test_token_outside_the_goal_is_rejected_even_where_z_overflows():
    """At temperature 0.01, Z is e^800, and rho of the last token is e^-400."""
    p, q, r = (np.array(row, dtype=np.float32) for row in ([0, 8, 4], [0, 8, 8], [8, 0, 8]))
    goal, _, scale = _core.goal(p, q, r, temperature=0.01)
    g = np.array([0.0, 0.5, 0.5])
    np.testing.assert_allclose(_core.law(goal, g, scale), [0, 1, 0], rtol=0, atol=DOUBLE)
    assert _core.decide(2, goal, g, scale, 0.0, 0.5)[:2] == (1, False)
    assert _core.decide(1, goal, g, scale, LARGEST_UNIFORM, 0.5)[:2] == (1, True)


def test_residual_that_is_empty_but_for_rounding_is_corrected_from_the_goal():
    """Target and reference agree, so rho is 1 or, for truncated tokens, 0: no residual."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        p, q = rng.normal(size=(2, 8)).astype(np.float32)
        goal, _, scale = _core.goal(p, q, p, top_k=3)
        g = oracle.softmax(q)
        accepted = g * (goal > 0)
        expected = accepted + (1 - accepted.sum()) * goal
        np.testing.assert_allclose(
            _core.law(goal, g, scale), expected, rtol=0, atol=of_log_z(len(goal))
        )


# --- decisions ----------------------------------------------------------------------------------


def last_below(is_below, *, steps: int = 55) -> float:
    """The end of the uniforms from 0 for which something holds, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return high


def law_of_decisions(goal: np.ndarray, g: np.ndarray, scale: float) -> np.ndarray:
    """The law of decide(), integrated over both of its uniforms."""
    law, rejected, loser = np.zeros_like(goal), 0.0, None
    for x in np.flatnonzero(g):
        accept = last_below(lambda u, x=x: _core.decide(x, goal, g, scale, u, 0.5)[1])
        law[x] += g[x] * accept
        rejected += g[x] * (1 - accept)
        if accept < 1:
            loser = x
    if loser is None:
        return law
    never = LARGEST_UNIFORM
    ends = [
        last_below(lambda u, t=t: _core.decide(loser, goal, g, scale, never, u)[0] <= t)
        for t in range(len(goal) - 1)
    ]
    return law + rejected * np.diff([0.0, *ends, 1.0])


@settings(derandomize=True, deadline=None, max_examples=150)
@given(
    data=st.data(),
    given=roles(limit=3, masked=True, least=2),
    strength=STRENGTHS,
    rule=st.sampled_from(["exact", "paper"]),
    cuts=CUTS,
)
def test_decisions_integrate_to_the_law(data, given, strength, rule, cuts):
    goal, _, scale = core_goal(given, strength, **cuts)
    if rule == "exact":
        g, scale = data.draw(proposals(len(goal))), 1.0
    else:
        g = given.probs()[1]
    residual = np.maximum(scale * goal - g, 0).sum()
    rejected = 1 - np.minimum(scale * goal, g).sum()
    assume(rejected > 1e-6)
    assume(residual > 1e-6 or (scale * goal < g - 1e-6)[g > 0].all())
    law = law_of_decisions(goal, g, scale)
    np.testing.assert_allclose(law, _core.law(goal, g, scale), rtol=0, atol=DECIDED)
    if rule == "exact":
        np.testing.assert_allclose(law, goal, rtol=0, atol=DECIDED)


@QUICK
@given(data=st.data(), given=roles(masked=True), u=st.floats(0, LARGEST_UNIFORM))
def test_accepted_is_the_drafted_token_and_corrections_have_residual(data, given, u):
    goal, _, _ = core_goal(given, 1.0)
    g = data.draw(proposals(len(goal)))
    drafted = int(data.draw(st.sampled_from(list(np.flatnonzero(g)))))
    for accept in (0.0, 0.5, LARGEST_UNIFORM):
        token, accepted, empty = _core.decide(drafted, goal, g, 1.0, accept, u)
        assert accepted == (accept < min(1.0, goal[drafted] / g[drafted]))
        if accepted:
            assert token == drafted
        elif not empty:
            assert goal[token] > g[token]


# --- several drafts after one history -----------------------------------------------------------


@st.composite
def tree_nodes(draw) -> tuple[np.ndarray, list[tuple[int, float]]]:
    """A goal, and a proposal of a few weighted tokens, as a table of n-grams has them."""
    goal = draw(proposals(draw(st.integers(2, 6))))
    tokens = draw(st.permutations(range(len(goal))))[: draw(st.integers(1, 4))]
    weights = draw(st.lists(st.floats(0.01, 5), min_size=len(tokens), max_size=len(tokens)))
    return goal, list(zip(tokens, weights, strict=True))


def drawn_in_turn(proposal: list[tuple[int, float]], more):
    """All that can be drawn without replacement while `more` wants more, with probabilities."""
    open_draws = [((), 1.0)]
    while open_draws:
        drawn, mass = open_draws.pop()
        left = [(x, w) for x, w in proposal if x not in drawn]
        if not left or not more(drawn):
            yield drawn, mass
            continue
        total = sum(w for _, w in left)
        open_draws += [((*drawn, x), mass * w / total) for x, w in left]


def law_given_drafts(goal: np.ndarray, proposal: list, drafted: tuple[int, ...]) -> np.ndarray:
    """The law of decide_one_of(), integrated over its uniforms."""
    law, reached, never = np.zeros_like(goal), 1.0, [LARGEST_UNIFORM] * len(drafted)
    for i, x in enumerate(drafted):

        def is_accepted(u: float, i=i, x=x) -> bool:
            uniforms = [*never[:i], u, *never[i + 1 :]]
            return _core.decide_one_of(drafted, goal, proposal, uniforms, 0.5) == (x, True)

        accept = last_below(is_accepted)
        law[x] += reached * accept
        reached *= 1 - accept
        if reached < 1e-13:
            return law
    ends = [
        last_below(lambda u, t=t: _core.decide_one_of(drafted, goal, proposal, never, u)[0] <= t)
        for t in range(len(goal) - 1)
    ]
    return law + reached * np.diff([0.0, *ends, 1.0])


STOPS = {
    "never": lambda _: False,
    "one": lambda drawn: len(drawn) < 1,
    "two": lambda drawn: len(drawn) < 2,
    "all": lambda _: True,
    "by what was drawn": lambda drawn: len(drawn) == 0 or sum(drawn) % 2 == 1,
}


@pytest.mark.parametrize("more", STOPS.values(), ids=list(STOPS))
@settings(derandomize=True, deadline=None, max_examples=25)
@given(node=tree_nodes())
def test_law_of_several_drafts_is_the_goal_however_many_there_are(more, node):
    goal, proposal = node
    law = sum(
        mass * law_given_drafts(goal, proposal, drafted)
        for drafted, mass in drawn_in_turn(proposal, more)
    )
    np.testing.assert_allclose(law, goal, rtol=0, atol=DECIDED)


@QUICK
@given(node=tree_nodes(), accept=st.floats(0, LARGEST_UNIFORM), u=st.floats(0, LARGEST_UNIFORM))
def test_one_of_one_draft_is_decided_as_in_a_chain(node, accept, u):
    goal, proposal = node
    g = np.zeros_like(goal)
    for token, weight in proposal:
        g[token] = weight / sum(w for _, w in proposal)
    for x in np.flatnonzero(g):
        one = _core.decide_one_of([x], goal, proposal, [accept], u)
        chain = _core.decide(x, goal, g, 1.0, accept, u)
        if abs(accept - min(1, goal[x] / g[x])) > 1e-9 and np.abs(goal - g).max() > 1e-9:
            assert one[1] == chain[1]
            if one[1] or last_below_is_clear(goal, g, u):
                assert one[0] == chain[0]


def last_below_is_clear(goal: np.ndarray, g: np.ndarray, u: float) -> bool:
    """Whether no rounding decides which correction a uniform draws."""
    cumulative = np.cumsum(np.maximum(goal - g, 0))
    return bool(np.abs(cumulative / cumulative[-1] - u).min() > 1e-9)


def test_drafts_that_equal_the_goal_are_accepted_even_by_the_largest_uniform():
    goal = np.array([0.1, 0.2, 0.7])
    proposal = [(0, 0.1), (1, 0.2), (2, 0.7)]
    for x in range(3):
        decided = _core.decide_one_of([x], goal, proposal, [LARGEST_UNIFORM], LARGEST_UNIFORM)
        assert decided == (x, True)


def test_all_that_can_be_drafted_may_be_rejected_and_is_never_corrected_to():
    goal, proposal = np.array([0.0, 0.0, 0.3, 0.7]), [(0, 1.0), (1, 3.0)]
    for u, corrected in ((0.0, 2), (0.29, 2), (0.31, 3), (LARGEST_UNIFORM, 3)):
        assert _core.decide_one_of([1, 0], goal, proposal, [0.0, 0.0], u) == (corrected, False)


# --- the inverse of the cumulative weights ------------------------------------------------------

SIZES = (1, 2, 15, 16, 17, 511, 512, 513, 1023, 1024, 1025, 1536, 2000)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("total", [1.0, 1e-200, 1e200, 0.3])
@pytest.mark.parametrize("possible", [1.0, 0.2, 0.005])
def test_sample_inverts_the_cumulative_weights(n, total, possible):
    rng = np.random.default_rng([n, int(possible * 1000)])
    weights = rng.exponential(size=n) * (rng.random(n) < possible)
    weights[rng.integers(n)] += 0.5
    weights *= total / weights.sum()
    cumulative = np.cumsum(weights)
    for u in rng.random(500):
        goal = u * cumulative[-1]
        if np.abs(cumulative - goal).min() > DOUBLE * cumulative[-1]:
            assert _core.sample(weights, u) == np.searchsorted(cumulative, goal, side="right")


@pytest.mark.parametrize("n", SIZES)
def test_sample_never_returns_a_token_without_weight(n):
    rng = np.random.default_rng(n)
    for first, last in itertools.product({0, n // 3, min(n - 1, 512)}, {n - 1, n // 2}):
        if first > last:
            continue
        weights = np.zeros(n)
        weights[[first, last]] = rng.random(2) * 10.0 ** rng.integers(-300, 10)
        assert _core.sample(weights, 0.0) == first
        assert _core.sample(weights, LARGEST_UNIFORM) == last
        for u in rng.random(20):
            assert _core.sample(weights, u) in {first, last}


@pytest.mark.parametrize("n", [3, 40, 700, 2000])
def test_sample_survives_rounding_at_the_end(n):
    """Sums of many thirds round; the largest uniforms must still meet a token with weight."""
    weights = np.full(n, 1 / 3)
    weights[n // 2 :: 7] = 0
    weights[-1] = 0
    for k in range(1, 200):
        assert weights[_core.sample(weights, 1 - k * 2.0**-53)] > 0
    assert _core.sample(weights, LARGEST_UNIFORM) == np.flatnonzero(weights)[-1]


# --- random numbers -----------------------------------------------------------------------------


def philox4x32(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """Philox4x32-10 of Salmon et al., SC 2011, after the paper."""
    mask = 0xFFFFFFFF
    (a, b, c, d), (k0, k1) = counter, key
    for _ in range(10):
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = right >> 32 ^ b ^ k0, right & mask, left >> 32 ^ d ^ k1, left & mask
        k0, k1 = (k0 + 0x9E3779B9) & mask, (k1 + 0xBB67AE85) & mask
    return a, b, c, d


def uniform_of(words: tuple[int, ...]) -> float:
    return ((words[0] << 32 | words[1]) >> 11) * 2.0**-53


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
    ids=["zeros", "ones", "pi"],
)
def test_uniform_gives_random123s_known_answers(counter, key, words):
    assert philox4x32(counter, key) == words
    seed, position = key[0] | key[1] << 32, counter[0] | counter[1] << 32
    assert _core.uniform(seed, counter[2], position, counter[3]) == uniform_of(words)


@QUICK
@given(
    seed=st.integers(0, 2**64 - 1),
    stream=st.integers(0, 2**32 - 1),
    position=st.integers(0, 2**64 - 1),
    purpose=st.integers(0, 3),
    index=st.integers(0, 2**24 - 1),
)
def test_uniform_is_philox_keyed_by_seed_and_counted_by_what_it_decides(
    seed, stream, position, purpose, index
):
    low = 2**32 - 1
    counter = (position & low, position >> 32, stream, purpose | index << 8)
    words = philox4x32(counter, (seed & low, seed >> 32))
    u = _core.uniform(seed, stream, position, purpose, index)
    assert u == uniform_of(words)
    assert 0 <= u < 1


AXES = ("seed", "stream", "position", "purpose")


def uniforms(n: int, axis: str, **fixed: int) -> np.ndarray:
    at = {name: fixed.get(name, 1) for name in AXES}
    return np.array([_core.uniform(**{**at, axis: i}) for i in range(n)])


@pytest.mark.statistical
@pytest.mark.parametrize("axis", AXES[:3])
def test_uniforms_are_uniform_along_every_axis(axis):
    for purpose in range(4):
        draws = uniforms(20000, axis, purpose=purpose)
        assert stats.kstest(draws, "uniform").pvalue > 1e-7 / 12
        assert len(np.unique(draws)) == len(draws)


def independence(first: np.ndarray, second: np.ndarray, cells: int = 12) -> float:
    """P-value of the chi-square test that pairs of uniforms fill the unit square evenly."""
    counts, _, _ = np.histogram2d(first, second, bins=cells, range=[[0, 1], [0, 1]])
    return float(stats.chisquare(counts.ravel()).pvalue)


@pytest.mark.statistical
@pytest.mark.parametrize("axis", AXES[:3])
def test_neighbouring_uniforms_are_independent(axis):
    draws = uniforms(20001, axis)
    assert independence(draws[1:], draws[:-1]) > 1e-7 / 15


@pytest.mark.statistical
def test_uniforms_are_independent_across_purposes_and_seeds_and_streams():
    purposes = [uniforms(20000, "position", purpose=k) for k in range(4)]
    for a, b in itertools.combinations(purposes, 2):
        assert independence(a, b) > 1e-7 / 15
    others = [uniforms(20000, "position", **at) for at in ({"seed": 2}, {"stream": 2})]
    mine = uniforms(20000, "position")
    for other in others:
        assert independence(mine, other) > 1e-7 / 15
        assert independence(mine[1:], other[:-1]) > 1e-7 / 15  # nor is one a shift of the other
        assert independence(mine[:-1], other[1:]) > 1e-7 / 15
