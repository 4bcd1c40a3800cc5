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
from tests.support.precision import (
    DOUBLE,
    FLOAT32,
    of_float_weights,
    of_log_z,
    of_normaliser,
    of_paper_law,
)

pytestmark = pytest.mark.numeric

THOROUGH = settings(derandomize=True, deadline=None, max_examples=400)
QUICK = settings(derandomize=True, deadline=None, max_examples=100)
LARGEST_UNIFORM = 1 - 2.0**-53
DECIDED = 1e-9  # of laws by decide(): its residuals, 1e-6 or more here, are off by 10 * 2^-53
EDGE = 1e-5  # weights are in float32: closer than this, rounding decides
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
def proposals(draw, n: int) -> _core.Weights:
    """Any distribution to draw drafts from, with zeros; its weights need not sum to one."""
    g = np.array(draw(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n)), np.float32)
    g[g < 1e-3] = 0
    assume(g.sum() > 0)
    return _core.Weights(g)


def weights(values) -> _core.Weights:
    return _core.Weights(np.asarray(values, dtype=np.float32))


def probs_of(given: _core.Weights) -> np.ndarray:
    return np.asarray(given.of, dtype=np.float64) / given.sum


def is_on_the_edge(given: Roles, strength: float, temperature: float, bias: dict, cuts: dict):
    """Whether rounding, not mathematics, decides which tokens are cut or which is the best."""
    z = {"strength": strength, "logit_bias": bias}
    if temperature == 0:
        top = np.sort(oracle.goal(given.p, given.q, given.r, **z))[-2:]
        return len(top) == 2 and top[1] - top[0] < 1e-9
    z["temperature"] = temperature
    probs = np.sort(oracle.goal(given.p, given.q, given.r, **z))[::-1]
    k = cuts.get("top_k", 0)
    if 0 < k < len(probs) and math.isclose(probs[k - 1], probs[k], rel_tol=EDGE):
        return True
    if k:
        probs = probs[:k] / probs[:k].sum()
    if "top_p" in cuts:
        cumulative = np.cumsum(probs)
        if np.abs(cumulative - cuts["top_p"]).min() < EDGE:
            return True
        count = 1 + int(np.sum(cumulative < cuts["top_p"]))
        if count < len(probs) and math.isclose(probs[count - 1], probs[count], rel_tol=EDGE):
            return True
    ratios = probs / probs[0]
    return "min_p" in cuts and bool(np.isclose(ratios, cuts["min_p"], rtol=EDGE, atol=0).any())


Terms = list[tuple[np.ndarray, float]]


def terms_of(given: Roles, strength: float) -> Terms:
    """The weighted sum that a shift is; without it, its roles are not asked."""
    if strength == 0:
        return [(given.p, 1.0)]
    return [(given.p, 1.0), (given.q, strength), (given.r, -strength)]


def core_goal(given: Roles, strength: float, *, logit_bias: dict | None = None, **shaping):
    """pi* of a shift: weights, probabilities, log Z, the paper's scale."""
    adjustments = [(token, bias, 1.0) for token, bias in (logit_bias or {}).items()]
    made = _core.goal(terms_of(given, strength), adjustments=adjustments, **shaping)
    return made.weights, probs_of(made.weights), made.log_z, made.paper_scale


def assert_is_goal(
    probs: np.ndarray, expected: np.ndarray, terms: Terms, temperature: float = 1.0
) -> None:
    close = of_float_weights(expected, reach_of(terms, temperature)) + 2.0**-120
    assert (np.abs(probs - expected) <= close).all()


def reach_of(terms: Terms, temperature: float) -> float:
    """What precision.of_float_weights() calls reach; from 16 on, terms are added in double."""
    weight = sum(abs(weight) for _, weight in terms)
    if weight > 16 * temperature:
        return 0.0
    finite = [(np.ptp(row[np.isfinite(row)]), abs(weight)) for row, weight in terms]
    return float(sum(reach * weight for reach, weight in finite)) / temperature


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
    made, probs, _, _ = core_goal(given, strength, **shaping)
    assert_is_goal(probs, expected, terms_of(given, strength), temperature)
    assert made.sum == pytest.approx(np.sum(made.of, dtype=np.float64), rel=DOUBLE)


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
    _, probs, log_z, scale = core_goal(
        given, strength, temperature=temperature, logit_bias=bias, **cuts
    )
    close = of_log_z(n, strength)
    assert log_z == pytest.approx(math.log(weight.sum()), abs=close)
    assert scale == pytest.approx(weight[probs > 0].sum(), rel=close)


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_tokens_far_above_the_targets_best_one_keep_their_odds(temperature):
    # e^94 is more than a float holds, relative to the target's best token.
    p, shift = np.float32([0, -1, -2]), np.float32([0, 95, 95.5])
    made = _core.goal([(p, 1.0), (shift, 1.0)], temperature=temperature)
    odds = math.exp(0.5 / temperature)  # of the second over the third
    assert probs_of(made.weights) == pytest.approx([0, odds / (1 + odds), 1 / (1 + odds)], abs=1e-5)


@THOROUGH
@given(
    data=st.data(),
    n=st.integers(2, 40),
    weighs=st.lists(st.sampled_from([1.0, -1.0, 0.5, -2.0, 0.0]), min_size=1, max_size=8),
    temperature=st.sampled_from([0.0, 0.7, 1.0, 2.0]),
)
def test_any_number_of_terms_is_summed_and_a_term_of_weight_0_only_masks(
    data, n, weighs, temperature
):
    drawn = [data.draw(rows(n, limit=3, masked=True)) for _ in weighs]
    doubles = np.array(drawn, dtype=np.float64)
    alive = (doubles > -np.inf).all(axis=0)
    assume(alive.any())
    z = np.where(alive, np.dot(weighs, np.where(alive, doubles, 0)), -np.inf)
    best = np.sort(z)
    assume(temperature > 0 or best[-1] - best[-2] > 1e-9)
    terms = list(zip(drawn, weighs, strict=True))
    made = _core.goal(terms, temperature=temperature)
    expected = oracle.goal(z, temperature=temperature)
    assert_is_goal(probs_of(made.weights), expected, terms, temperature)
    t = temperature or 1.0
    own = np.log(np.exp(doubles / t).sum(axis=1))
    top = z.max() / t
    whole = top + math.log(np.exp(z / t - top).sum())
    close = (1 + np.abs(weighs).sum()) * of_normaliser(n)
    assert made.log_normaliser == pytest.approx(whole, abs=close)
    assert made.log_z == pytest.approx(whole - np.dot(weighs, own), abs=close)
    assert made.log_best == pytest.approx(top - whole, abs=close)
    expected = np.stack([np.log(np.exp(doubles).sum(axis=1)), own], axis=1)
    np.testing.assert_allclose(made.normalisers, expected, rtol=0, atol=3 * of_normaliser(n))
    shaped, log_normaliser, kept, log_best = _core.shape(terms, temperature=temperature)
    np.testing.assert_array_equal(shaped.of, made.weights.of)
    assert (log_normaliser, kept, log_best) == (made.log_normaliser, 1.0, made.log_best)


def bits_of(allowed: np.ndarray) -> np.ndarray:
    """A mask's words: a bit for each token, the lowest first."""
    padded = np.zeros((len(allowed) + 31) // 32 * 32, dtype=bool)
    padded[: len(allowed)] = allowed
    return np.packbits(padded, bitorder="little").view(np.uint32)


@pytest.mark.parametrize("n", [1, 31, 32, 33, 1024, 1025, 3000])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("cuts", [{}, {"top_k": 5}, {"top_p": 0.5}, {"min_p": 0.1}], ids=str)
def test_masked_tokens_are_impossible_and_z_is_of_the_others(n, temperature, cuts):
    rng = np.random.default_rng(n)
    given = Roles(*rng.normal(size=(3, n)).astype(np.float32))
    allowed = rng.random(n) < 0.5
    allowed[rng.integers(n)] = True
    masked = Roles(given.p.copy(), given.q, given.r)
    masked.p[~allowed] = -np.inf
    expected = oracle.goal(masked.p, given.q, given.r, temperature=temperature, **cuts)
    made = _core.goal(
        terms_of(given, 1.0), temperature=temperature, allowed=bits_of(allowed), **cuts
    )
    probs = probs_of(made.weights)
    assert_is_goal(probs, expected, terms_of(given, 1.0), temperature)
    p, q, r = given.probs(temperature or 1.0)
    z = oracle.shifted(p, q, r)[allowed].sum()
    assert made.log_z == pytest.approx(math.log(z), abs=of_log_z(n))


def test_mask_outlasts_a_bias_and_none_or_one_may_be_left():
    p = np.zeros(40, dtype=np.float32)
    only = np.arange(40) == 37
    made = _core.goal([(p, 1.0)], adjustments=[(3, 50.0, 1.0)], allowed=bits_of(only))
    assert probs_of(made.weights).tolist() == only.tolist()
    nothing = _core.goal([(p, 1.0)], allowed=bits_of(np.zeros(40, dtype=bool)))
    assert not math.isfinite(nothing.log_z)
    assert math.isfinite(nothing.normalisers[0][0])


@QUICK
@given(data=st.data(), n=st.sampled_from([3, 1500]))
def test_adjustments_of_a_token_apply_in_turn_in_any_order_of_tokens(data, n):
    rng = np.random.default_rng(n)
    p = rng.normal(size=n).astype(np.float32)
    one = st.tuples(st.integers(0, n - 1), st.floats(-3, 3), st.sampled_from([1.0, 1.0, 1.3, 0.8]))
    adjustments = data.draw(st.lists(one, max_size=8))
    z = p.astype(np.float64)
    for token, bias, penalty in adjustments:
        z[token] = (z[token] / penalty if z[token] > 0 else z[token] * penalty) + bias
    made, _, _, _ = _core.shape([(p, 1.0)], adjustments=adjustments)
    assert_is_goal(probs_of(made), oracle.softmax(z), [(p, 1.0)])


@QUICK
@given(given=roles(masked=True))
def test_without_a_shift_z_is_one(given):
    made = _core.goal([(given.p, 1.0)])
    assert_is_goal(probs_of(made.weights), given.probs()[0], [(given.p, 1.0)])
    assert made.log_z == pytest.approx(0, abs=of_log_z(len(given.p), 0))
    assert made.paper_scale == pytest.approx(1, abs=of_log_z(len(given.p), 0))


@pytest.mark.parametrize("role", ["p", "q", "r"])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("strength", [-1.0, 1.0, 2.0])
def test_token_impossible_in_any_role_is_impossible(role, temperature, strength):
    rng = np.random.default_rng(3)
    given = Roles(*rng.normal(size=(3, 9)).astype(np.float32))
    best = int(core_goal(given, strength, temperature=temperature)[1].argmax())
    getattr(given, role)[best] = -np.inf
    _, probs, log_z, _ = core_goal(given, strength, temperature=temperature)
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
    made = _core.goal(terms_of(given, 1.0), temperature=temperature)
    assert not math.isfinite(made.log_z)
    for name, own in zip("pqr", made.normalisers, strict=True):
        assert [math.isfinite(value) for value in own] == [name != role] * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.nan])
@pytest.mark.parametrize("n", [1, 40, 1024, 5000])
def test_one_bad_logit_anywhere_is_told_of_its_term_alone(bad, n):
    rng = np.random.default_rng(n)
    for temperature in (0.0, 0.5, 1.0, 1e300):
        for at in {0, n // 2, n - 1}:
            given = rng.normal(size=(3, n)).astype(np.float32)
            given[1, at] = bad
            given[0, at] = -np.inf if n > 1 else 0  # the sum itself is none the worse
            terms = list(zip(given, (1.0, 0.5, -0.5), strict=True))
            own = _core.goal(terms, temperature=temperature).normalisers
            assert np.isfinite(own).tolist() == [[True] * 2, [False] * 2, [True] * 2]


def test_payload_of_a_nan_does_not_hide_it():
    row = np.zeros(64, dtype=np.float32)
    row.view(np.uint32)[5] = 0x7FC00001
    assert not math.isfinite(_core.goal([(row, 1.0)]).normalisers[0][0])


def test_roles_without_a_common_token_have_no_finite_z():
    p, q = (np.array(row, dtype=np.float32) for row in ([0, -np.inf], [-np.inf, 0]))
    assert not math.isfinite(_core.goal([(p, 1.0), (q, 1.0)]).log_z)


@pytest.mark.parametrize("strength", [0.0, 1.0])
def test_greedy_ties_go_to_the_lowest_id(strength):
    p, q, r = (
        np.array(row, dtype=np.float32) for row in ([1, 3, 2, 1], [0, 0, 2, 2], [2, 1, 2, 0])
    )
    best = {0.0: 1, 1.0: 3}[strength]  # z* is [-1, 2, 2, 3] with the shift
    assert core_goal(Roles(p, q, r), strength, temperature=0.0)[1].argmax() == best
    p[2] = 3
    assert greedy(p).tolist() == [0, 1, 0, 0]
    for n in (1, 17, 600, 5000):
        flat = greedy(np.zeros(n, np.float32))
        assert flat.argmax() == 0
        assert flat.sum() == 1
        late = np.zeros(n, np.float32)
        late[n // 2 :] = 1
        assert greedy(late).argmax() == n // 2


def greedy(p: np.ndarray) -> np.ndarray:
    return np.asarray(_core.shape([(p, 1.0)], temperature=0.0)[0].of)


@pytest.mark.parametrize("temperature", [0.0, 1e-30, 1e-6, 0.05, 1.0, 50.0, 1e6, 1e300])
def test_extreme_logits_and_temperatures_give_a_distribution(temperature):
    p = np.array([1e4, -1e4, 9999, 0, 9000], dtype=np.float32)
    q = np.array([-1e4, 1e4, -9998, 1e4, -9000], dtype=np.float32)
    r = np.array([0, 1e4, 1, 1e4, 0], dtype=np.float32)
    for strength in (0.0, 1.0, -1.0):
        probs = core_goal(Roles(p, q, r), strength, temperature=temperature)[1]
        # Temperatures that no float logits could tell from 0 are 0.
        t = temperature if temperature >= 1e-6 else 0
        expected = oracle.goal(p, q, r, strength=strength, temperature=t)
        assert_is_goal(probs, expected, terms_of(Roles(p, q, r), strength), t)


@pytest.mark.parametrize("temperature", [0.0, 1e-5, 1e-3, 1.0])
def test_float_sums_of_huge_logits_do_not_decide_what_is_most_probable(temperature):
    """In float, sums of these are off by much more than the temperature."""
    rng = np.random.default_rng(11)
    for n in (5, 2000):
        given = Roles(*(1e5 * rng.normal(size=(3, n))).astype(np.float32))
        given.q[n // 2], given.r[n // 2] = 3e6, -3e6  # the best
        given.q[1], given.r[1], given.p[1] = given.q[n // 2], given.r[n // 2], given.p[n // 2]
        given.p[1] += np.float32(0.0625)  # and one that is better by less than float tells
        made = _core.goal(terms_of(given, 3.7), temperature=temperature)
        expected = oracle.goal(given.p, given.q, given.r, strength=3.7, temperature=temperature)
        assert probs_of(made.weights)[1] == pytest.approx(expected[1], abs=1e-6)


@pytest.mark.parametrize("temperature", [1e-305, 5e-324])
def test_smallest_temperatures_are_greedy(temperature):
    p = np.array([1e4, -1e4, 9999], dtype=np.float32)
    made = _core.goal([(p, 1.0)], temperature=temperature)
    assert probs_of(made.weights).tolist() == [1, 0, 0]
    assert math.isfinite(made.log_z)


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
        probs = core_goal(given, strength, **cuts)[1]
        kept = (np.flatnonzero(row).tolist() for row in (probs, expected))
        assert next(kept) == next(kept), cuts
        terms = terms_of(given, strength)
        assert_is_goal(probs, expected, terms, cuts.get("temperature", 1.0))


def test_law_of_exact_over_a_large_vocabulary_is_the_goal():
    given = large("smooth")
    goal, probs, _, _ = core_goal(given, 1.0)
    law = _core.law(goal, _core.shape([(given.q, 1.0)])[0], 1.0)
    np.testing.assert_allclose(law, probs, rtol=0, atol=LAW)


def test_top_k_keeps_the_lowest_ids_among_equals():
    p = np.zeros(3000, dtype=np.float32)
    p[2500] = 1
    kept, _, _, _ = _core.shape([(p, 1.0)], top_k=5)
    assert np.flatnonzero(kept.of).tolist() == [0, 1, 2, 3, 2500]


@pytest.mark.parametrize("n", [0, 1, 2, 16, 200])
@pytest.mark.parametrize("size", [1, 31, 128, 129, 1000, 40_001])
@pytest.mark.parametrize("distinct", [2, 30, 10**6])
def test_the_largest_are_sorted_and_ties_go_to_lower_ids(size, n, distinct):
    rng = np.random.default_rng(size + n)
    row = (rng.integers(distinct, size=size) - distinct / 2).astype(np.float32)
    row[rng.random(size) < 0.2] = -np.inf
    row[rng.random(size) < 0.1] = np.nan
    possible = [int(i) for i in np.argsort(-row, kind="stable") if row[i] > -np.inf]
    assert _core.largest(row, n) == possible[:n]


@pytest.mark.parametrize("size", [1, 31, 32, 33, 40_001])
def test_the_mass_of_some_tokens_is_their_share_of_the_distribution(size):
    rng = np.random.default_rng(size)
    row = rng.normal(scale=4, size=size).astype(np.float32)
    row[rng.random(size) < 0.1] = -np.inf
    row[0] = 1.0
    bits = rng.random(size) < 0.4
    words = np.packbits(np.pad(bits, (0, -size % 32)), bitorder="little").view(np.uint32)
    p = oracle.softmax(row)
    z = float(np.log(np.exp(row.astype(np.float64)).sum()))
    assert _core.mass_of(row, z, words) == pytest.approx(p[bits].sum(), rel=3e-6, abs=1e-12)


@pytest.mark.parametrize("kind", ["smooth", "tied", "flat", "few"])
@pytest.mark.parametrize("n", [1, 10, 300])
def test_most_probable_are_sorted_and_ties_go_to_lower_ids(kind, n):
    rng = np.random.default_rng(n)
    drawn = {
        "smooth": rng.exponential(size=5000) ** 8,
        "tied": np.round(4 * rng.random(5000)),
        "flat": np.full(5000, 3.0),
        "few": np.arange(5000) % 1000 == 7,
    }[kind]
    given = weights(drawn)
    probs = probs_of(given)
    order = [int(t) for t in np.argsort(-probs, kind="stable")[:n] if probs[t] > 0]
    found = _core.most_probable(given, n)
    assert [token for token, _ in found] == order
    np.testing.assert_allclose([p for _, p in found], probs[order], rtol=DOUBLE)


@QUICK
@given(row=rows(30, masked=True))
def test_entropy_is_that_of_the_row(row):
    p = oracle.softmax(row)
    expected = -np.sum(p[p > 0] * np.log(p[p > 0]))
    normaliser = _core.goal([(row, 1.0)]).normalisers[0][0]
    # Exponents below 20 are rounded, and every exponential is right to 2 ulp.
    assert _core.entropy(row, normaliser) == pytest.approx(expected, abs=40 * FLOAT32)


# --- laws ---------------------------------------------------------------------------------------

LAW = 1e-14  # of laws in double of the very weights that are given


@THOROUGH
@given(
    data=st.data(),
    given=roles(masked=True),
    strength=STRENGTHS,
    temperature=TEMPERATURES,
    cuts=CUTS,
)
def test_law_of_exact_is_the_goal_for_any_proposal(data, given, strength, temperature, cuts):
    goal, probs, _, _ = core_goal(given, strength, temperature=temperature, **cuts)
    g = data.draw(proposals(len(probs)))
    np.testing.assert_allclose(_core.law(goal, g, 1.0), probs, rtol=0, atol=LAW)
    np.testing.assert_allclose(_core.law(goal, goal, 1.0), probs, rtol=0, atol=LAW)
    token = int(probs.argmax())
    log_probability, distance = _core.summarise_law(goal, g, 1.0, token)
    assert log_probability == pytest.approx(math.log(probs[token]), abs=DOUBLE)
    assert 0 <= distance < LAW * len(probs)


@THOROUGH
@given(
    given=roles(limit=3, masked=True, least=2),
    strength=st.sampled_from([-1.0, 0.5, 1.0, 1.0, 2.0]),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
    cuts=CUTS,
)
def test_law_of_paper_is_its_stated_law(given, strength, temperature, cuts):
    assume(not is_on_the_edge(given, strength, temperature, {}, cuts))
    goal, probs, _, scale = core_goal(given, strength, temperature=temperature, **cuts)
    proposal, _, _, _ = _core.shape([(given.q, 1.0)], temperature=temperature)
    g = probs_of(proposal)
    assume(np.maximum(scale * probs - g, 0).sum() > 1e-3)  # else rounding decides what it is
    law = _core.law(goal, proposal, scale)
    expected = oracle.emission(scale * probs, g, probs).law
    assert (np.abs(law - expected) <= of_paper_law(DOUBLE, scale * probs, g)).all()
    token = int(law.argmax())
    log_probability, distance = _core.summarise_law(goal, proposal, scale, token)
    assert log_probability == pytest.approx(math.log(law[token]), abs=DOUBLE)
    assert distance == pytest.approx(0.5 * np.abs(law - probs).sum(), abs=DOUBLE)

    # Of the logits themselves: the scale, and the weights of both distributions, are rounded.
    p, q, r = given.probs(temperature)
    weight = oracle.shifted(p, q, r, strength) * (probs > 0)
    stated = oracle.emission(weight, q, probs).law
    close = of_paper_law(3 * of_log_z(len(probs), strength), weight, q)
    assert (np.abs(law - stated) <= close).all()
    if not cuts:
        assert (np.abs(oracle.paper_law(p, q, r, strength) - stated) <= close).all()
        # law - goal is a (1 - 1/Z) times the difference of two distributions, a the mass accepted.
        most = np.minimum(weight, q).sum() * abs(1 - 1 / weight.sum())
        assert 0.5 * np.abs(law - probs).sum() <= most + close.sum()


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
    goal, probs, log_z, scale = core_goal(logits, 1.0)
    largest = max(float(np.abs(row).max()) for row in (logits.p, logits.q, logits.r))
    close = 3 * FLOAT32 * largest + of_log_z(len(probs))  # logits that were rounded, of three roles
    assert log_z == pytest.approx(0, abs=close)
    law = _core.law(goal, _core.shape([(logits.q, 1.0)])[0], scale)
    np.testing.assert_allclose(law, probs, rtol=0, atol=close)


def test_paper_misses_the_goal_on_random_toys_as_stated():
    """math.md: V = 50, Z_1 between 0.5 and 2.1, 0.039 a position on average, 0.30 at worst."""
    rng = np.random.default_rng(2025)
    z, paper_misses, exact_misses = [], [], []
    for _ in range(1000):
        small = rng.normal(size=50)
        target, aligned = small + 0.75 * rng.normal(size=(2, 50))
        given = Roles(*np.array([target, aligned, small], dtype=np.float32))
        goal, probs, log_z, scale = core_goal(given, 1.0)
        q, _, _, _ = _core.shape([(given.q, 1.0)])
        z.append(math.exp(log_z))
        paper_misses.append(0.5 * np.abs(_core.law(goal, q, scale) - probs).sum())
        exact_misses.append(0.5 * np.abs(_core.law(goal, q, 1.0) - probs).sum())
    assert 0.4 < min(z) < 0.75
    assert 1.5 < max(z) < 2.6
    assert np.median(z) == pytest.approx(1, abs=0.05)
    assert np.mean(paper_misses) == pytest.approx(0.039, abs=0.006)
    assert 0.2 < max(paper_misses) < 0.45
    assert max(exact_misses) < DOUBLE


def test_empty_residual_is_corrected_from_the_goal():
    goal, g = weights([1.0, 3.0, 0.0]), weights([0.5, 0.25, 0.25])
    scale = 1 / 3  # c pi* is at most g everywhere
    token, accepted, empty = _core.decide(2, goal, g, scale, 0.0, 0.2)
    assert (token, accepted, empty) == (0, False, True)
    assert _core.decide(2, goal, g, scale, 0.0, 0.3) == (1, False, True)
    kept = np.array([1 / 12, 1 / 4, 0])
    np.testing.assert_allclose(_core.law(goal, g, scale), kept + (1 - kept.sum()) * probs_of(goal))


def test_token_outside_the_goal_is_rejected_even_where_z_overflows():
    """At temperature 0.01, Z is e^800, and rho of the last token is e^-400."""
    p, q, r = (np.array(row, dtype=np.float32) for row in ([0, 8, 4], [0, 8, 8], [8, 0, 8]))
    goal, _, _, scale = core_goal(Roles(p, q, r), 1.0, temperature=0.01)
    g = weights([0.0, 0.5, 0.5])
    np.testing.assert_allclose(_core.law(goal, g, scale), [0, 1, 0], rtol=0, atol=DOUBLE)
    assert _core.decide(2, goal, g, scale, 0.0, 0.5)[:2] == (1, False)
    assert _core.decide(1, goal, g, scale, LARGEST_UNIFORM, 0.5)[:2] == (1, True)


def test_residual_that_is_empty_but_for_rounding_is_corrected_from_the_goal():
    """Target and reference agree, so rho is 1 or, for truncated tokens, 0: no residual."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        p, q = rng.normal(size=(2, 8)).astype(np.float32)
        goal, probs, _, scale = core_goal(Roles(p, q, p), 1.0, top_k=3)
        g, _, _, _ = _core.shape([(q, 1.0)])
        accepted = probs_of(g) * (probs > 0)
        expected = accepted + (1 - accepted.sum()) * probs
        np.testing.assert_allclose(
            _core.law(goal, g, scale), expected, rtol=0, atol=of_log_z(len(probs))
        )


# --- decisions ----------------------------------------------------------------------------------


def last_below(is_below, *, steps: int = 55) -> float:
    """The end of the uniforms from 0 for which something holds, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return high


def law_of_decisions(goal: _core.Weights, g: _core.Weights, scale: float) -> np.ndarray:
    """The law of decide(), integrated over both of its uniforms."""
    law, rejected, loser = np.zeros(len(goal.of)), 0.0, None
    for x, drawn in enumerate(probs_of(g)):
        if drawn == 0:
            continue
        accept = last_below(lambda u, x=x: _core.decide(x, goal, g, scale, u, 0.5)[1])
        law[x] += drawn * accept
        rejected += drawn * (1 - accept)
        if accept < 1:
            loser = x
    if loser is None:
        return law
    never = LARGEST_UNIFORM
    ends = [
        last_below(lambda u, t=t: _core.decide(loser, goal, g, scale, never, u)[0] <= t)
        for t in range(len(law) - 1)
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
    goal, probs, _, scale = core_goal(given, strength, **cuts)
    if rule == "exact":
        proposal, scale = data.draw(proposals(len(probs))), 1.0
    else:
        proposal, _, _, _ = _core.shape([(given.q, 1.0)])
    g = probs_of(proposal)
    residual = np.maximum(scale * probs - g, 0).sum()
    rejected = 1 - np.minimum(scale * probs, g).sum()
    assume(rejected > 1e-6)
    assume(residual > 1e-6 or (scale * probs < g - 1e-6)[g > 0].all())
    law = law_of_decisions(goal, proposal, scale)
    np.testing.assert_allclose(law, _core.law(goal, proposal, scale), rtol=0, atol=DECIDED)
    if rule == "exact":
        np.testing.assert_allclose(law, probs, rtol=0, atol=DECIDED)


@QUICK
@given(data=st.data(), given=roles(masked=True), u=st.floats(0, LARGEST_UNIFORM))
def test_accepted_is_the_drafted_token_and_corrections_have_residual(data, given, u):
    goal, probs, _, _ = core_goal(given, 1.0)
    proposal = data.draw(proposals(len(probs)))
    g = probs_of(proposal)
    drafted = int(data.draw(st.sampled_from(list(np.flatnonzero(g)))))
    for accept in (0.0, 0.5, LARGEST_UNIFORM):
        token, accepted, empty = _core.decide(drafted, goal, proposal, 1.0, accept, u)
        assert accepted == (accept < min(1.0, probs[drafted] / g[drafted]))
        if accepted:
            assert token == drafted
        elif not empty:
            assert probs[token] > g[token]


# --- several drafts after one history -----------------------------------------------------------


@st.composite
def tree_nodes(draw) -> tuple[_core.Weights, list[tuple[int, float]]]:
    """A goal, and a proposal of a few weighted tokens, as a table of n-grams has them."""
    goal = draw(proposals(draw(st.integers(2, 6))))
    tokens = draw(st.permutations(range(len(goal.of))))[: draw(st.integers(1, 4))]
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


def law_given_drafts(goal: _core.Weights, proposal: list, drafted: tuple[int, ...]) -> np.ndarray:
    """The law of decide_one_of(), integrated over its uniforms."""
    law, reached, never = np.zeros(len(goal.of)), 1.0, [LARGEST_UNIFORM] * len(drafted)
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
        for t in range(len(law) - 1)
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
    np.testing.assert_allclose(law, probs_of(goal), rtol=0, atol=DECIDED)


@QUICK
@given(node=tree_nodes(), accept=st.floats(0, LARGEST_UNIFORM), u=st.floats(0, LARGEST_UNIFORM))
def test_one_of_one_draft_is_decided_as_in_a_chain(node, accept, u):
    goal, proposal = node
    row = np.zeros(len(goal.of), dtype=np.float32)
    for token, weight in proposal:
        row[token] = weight
    proposal = [(token, float(row[token])) for token, _ in proposal]  # the chain's are in float32
    chained = weights(row)
    probs, g = probs_of(goal), probs_of(chained)
    for x in np.flatnonzero(g):
        one = _core.decide_one_of([x], goal, proposal, [accept], u)
        chain = _core.decide(x, goal, chained, 1.0, accept, u)
        if abs(accept - min(1, probs[x] / g[x])) > 1e-9 and np.abs(probs - g).max() > 1e-9:
            assert one[1] == chain[1]
            if one[1] or last_below_is_clear(probs, g, u):
                assert one[0] == chain[0]


def last_below_is_clear(goal: np.ndarray, g: np.ndarray, u: float) -> bool:
    """Whether no rounding decides which correction a uniform draws."""
    cumulative = np.cumsum(np.maximum(goal - g, 0))
    return bool(np.abs(cumulative / cumulative[-1] - u).min() > 1e-9)


def test_drafts_that_equal_the_goal_are_accepted_even_by_the_largest_uniform():
    goal = weights([1, 2, 5])
    proposal = [(0, 0.125), (1, 0.25), (2, 0.625)]
    for x in range(3):
        decided = _core.decide_one_of([x], goal, proposal, [LARGEST_UNIFORM], LARGEST_UNIFORM)
        assert decided == (x, True)


def test_all_that_can_be_drafted_may_be_rejected_and_is_never_corrected_to():
    goal, proposal = weights([0.0, 0.0, 0.3, 0.7]), [(0, 1.0), (1, 3.0)]
    for u, corrected in ((0.0, 2), (0.29, 2), (0.31, 3), (LARGEST_UNIFORM, 3)):
        assert _core.decide_one_of([1, 0], goal, proposal, [0.0, 0.0], u) == (corrected, False)


# --- blocks -------------------------------------------------------------------------------------


@dataclass
class Chain:
    """A goal and a proposal that know the last token only, over few tokens."""

    goals: list[_core.Weights]
    proposals: list[_core.Weights]
    eog: frozenset[int]

    @property
    def vocab(self) -> int:
        return len(self.goals) - 1

    def goal(self, prefix: tuple[int, ...]) -> np.ndarray:
        return probs_of(self.goals[self.state(prefix)])

    def proposal(self, prefix: tuple[int, ...]) -> np.ndarray:
        return probs_of(self.proposals[self.state(prefix)])

    def state(self, prefix: tuple[int, ...]) -> int:
        return prefix[-1] if prefix else self.vocab


@st.composite
def chains(draw) -> Chain:
    """Any two tables; proposals may be near the goal, or know one token only."""
    vocab = draw(st.integers(2, 4))
    goals, drafts = [], []
    for _ in range(vocab + 1):
        goals.append(draw(proposals(vocab)))
        kind = draw(st.sampled_from(["any", "any", "near", "equal", "point"]))
        if kind == "any":
            drafts.append(draw(proposals(vocab)))
        elif kind == "point":
            drafts.append(weights(np.arange(vocab) == draw(st.integers(0, vocab - 1))))
        else:
            off = draw(proposals(vocab)).of if kind == "near" else 0
            drafts.append(weights(goals[-1].of + 0.2 * off))
    eog = draw(st.sampled_from([frozenset(), frozenset({vocab - 1})]))
    return Chain(goals, drafts, eog)


@QUICK
@given(chain=chains(), length=st.integers(1, 4))
def test_block_verification_as_stated_emits_the_goal_and_accepts_no_less(chain, length):
    """Of the oracle, which the core is then held against."""
    law, accepted = oracle.block_law(chain.goal, chain.proposal, length, chain.eog)
    expected = oracle.enumerate_law(chain.goal, chain.eog, length + 1)
    for response in law.keys() | expected.keys():
        assert law.get(response, 0) == pytest.approx(expected.get(response, 0), abs=DOUBLE)
    one_by_one = oracle.accepted_token_by_token(chain.goal, chain.proposal, length, chain.eog)
    assert accepted >= one_by_one - DOUBLE


@THOROUGH
@given(data=st.data(), chain=chains(), length=st.integers(1, 4))
def test_blocks_are_decided_as_stated(data, chain, length):
    """Each threshold and each correction, by uniforms on both sides of what the oracle says."""
    drafts = oracle.chains(chain.proposal, length, chain.eog)
    drafted = data.draw(st.sampled_from(sorted(drafts)))
    n = len(drafted)
    states = [chain.state(drafted[:i]) for i in range(n)]
    rows = ([chain.goals[s] for s in states], [chain.proposals[s] for s in states])
    stated = oracle.block_decisions(drafted, *([probs_of(row) for row in side] for side in rows))

    def decide(accept: list[float], residual: float = 0.5):
        return _core.decide_block(list(drafted), *rows, accept, [residual] * n)

    def uniforms(accepted: int, u: float) -> list[float]:
        """Nothing but these first drafts can be accepted."""
        return [u if i == accepted - 1 else LARGEST_UNIFORM for i in range(n)]

    for i in range(n, -1, -1):
        height = stated.heights[i - 1] if i > 0 else 1.0
        if height > 1e-9 and i < n and stated.masses[i] > 1e-6:
            ends = np.cumsum(stated.corrections[i])
            for u in [*(ends[:-1] - 1e-9), *(ends[:-1] + 1e-9)]:
                token = int(np.searchsorted(ends, u, side="right"))
                assert u < 0 or u >= 1 or decide(uniforms(i, 0.0), u) == (i, token, False)
        if height > 1 - 1e-9:
            assert decide(uniforms(i, LARGEST_UNIFORM * height))[0] == i
            return  # nothing shorter is ever accepted
        if height > 1e-9:
            assert decide(uniforms(i, height * (1 - 1e-9)))[0] == i
        assert decide(uniforms(i, height + 1e-10))[0] < i


@QUICK
@given(chain=chains(), accept=st.floats(0, LARGEST_UNIFORM), residual=st.floats(0, LARGEST_UNIFORM))
def test_block_of_one_draft_is_decided_as_in_a_chain(chain, accept, residual):
    goal, proposal = chain.goals[-1], chain.proposals[-1]
    for x in np.flatnonzero(proposal.of):
        accepted, correction, empty = _core.decide_block(
            [x], [goal], [proposal], [accept], [residual]
        )
        token, is_accepted, was_empty = _core.decide(x, goal, proposal, 1.0, accept, residual)
        assert accepted == is_accepted
        assert (x if accepted else correction) == token
        assert empty == was_empty
        assert not accepted or correction == -1


def test_block_whose_proposal_is_the_goal_is_accepted_whole_by_the_largest_uniforms():
    rows = [weights([1, 2, 5]), weights([3, 0, 1]), weights([2, 2, 2])]
    same = [weights(2 * row.of) for row in rows]  # but for a factor
    never = [LARGEST_UNIFORM] * 3
    assert _core.decide_block([2, 0, 1], rows, same, never, never) == (3, -1, False)
    assert _core.decide_block([], [], [], [], []) == (0, -1, False)


def test_impossible_draft_of_a_block_is_never_accepted():
    goal, proposal = weights([1, 0, 1]), weights([1, 2, 1])
    for u in (0.0, 0.4, 0.6, LARGEST_UNIFORM):
        accepted, token, empty = _core.decide_block(
            [0, 1, 2], [goal] * 3, [proposal] * 3, [LARGEST_UNIFORM, 0.0, 0.0], [u] * 3
        )
        # P_1 is 1, and so is h_1; P_2 and P_3 are 0.
        assert (accepted, token, empty) == (1, 0 if u < 0.5 else 2, False)


# --- the inverse of the cumulative weights ------------------------------------------------------

SIZES = (1, 2, 15, 16, 17, 511, 512, 513, 1023, 1024, 1025, 1536, 2000)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("total", [1.0, 1e-25, 1e25, 0.3])
@pytest.mark.parametrize("possible", [1.0, 0.2, 0.005])
def test_sample_inverts_the_cumulative_weights(n, total, possible):
    rng = np.random.default_rng([n, int(possible * 1000)])
    drawn = rng.exponential(size=n) * (rng.random(n) < possible)
    drawn[rng.integers(n)] += 0.5
    given = weights(drawn * total / drawn.sum())
    cumulative = np.cumsum(given.of, dtype=np.float64)
    for u in rng.random(500):
        goal = u * cumulative[-1]
        if np.abs(cumulative - goal).min() > DOUBLE * cumulative[-1]:
            assert _core.sample(given, u) == np.searchsorted(cumulative, goal, side="right")


@pytest.mark.parametrize("n", SIZES)
def test_sample_never_returns_a_token_without_weight(n):
    rng = np.random.default_rng(n)
    for first, last in itertools.product({0, n // 3, min(n - 1, 512)}, {n - 1, n // 2}):
        if first > last:
            continue
        row = np.zeros(n)
        row[[first, last]] = rng.random(2) * 10.0 ** rng.integers(-30, 10)
        given = weights(row)
        assert _core.sample(given, 0.0) == first
        assert _core.sample(given, LARGEST_UNIFORM) == last
        for u in rng.random(20):
            assert _core.sample(given, u) in {first, last}


@pytest.mark.parametrize("n", [3, 40, 700, 2000])
def test_sample_survives_rounding_at_the_end(n):
    """Sums of many thirds round; the largest uniforms must still meet a token with weight."""
    row = np.full(n, 1 / 3)
    row[n // 2 :: 7] = 0
    row[-1] = 0
    given = weights(row)
    for k in range(1, 200):
        assert row[_core.sample(given, 1 - k * 2.0**-53)] > 0
    assert _core.sample(given, LARGEST_UNIFORM) == np.flatnonzero(row)[-1]


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
