"""How many tokens are drafted: what promises most tokens a second, by costs and acceptance."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rewardshift import Decoder, TableModel, _core

LENGTHS = range(9)


def curve(*seconds: float) -> _core.CostCurve:
    """Seconds of 1, 2, ... rows."""
    return _core.CostCurve(list(enumerate(seconds, start=1)))


def line(first: float, slope: float) -> list[float]:
    return [first * (1 + slope * n) for n in range(64)]


REPACKED = [1.0, 1.2, 1.4, 1.24, 1.75, 1.9, 2.0, 2.1, *(0.25 * n for n in range(9, 65))]
"""Groups of four rows are cheap, as quantised matrix kernels have it."""


def learned(acceptances: list[float], rounds: int = 4000) -> _core.AdaptivePolicy:
    """A policy that saw drafts accepted with these probabilities, position by position."""
    policy, rng = _core.AdaptivePolicy(), np.random.default_rng(0)
    for _ in range(rounds):
        draws = rng.random(len(acceptances)) < acceptances
        accepted = len(draws) if draws.all() else int(np.argmin(draws))
        policy.learn(accepted, accepted < len(draws))
    return policy


def plan(most: int = 8, *, is_free: bool = True, is_aligned: bool = False) -> _core.RoundPlan:
    """A request that has no past of its own."""
    return _core.RoundPlan(
        _core.Acceptance(0.97), is_aligned=is_aligned, is_free=is_free, most=most
    )


def rate(k: int, p: float, target: list[float], draft: list[float]) -> float:
    """Expected tokens a second of one lossless request, written out anew."""
    tokens = sum(p**i for i in range(k + 1))
    return tokens / (target[k] + k * draft[0] + (p**k * draft[0] if k else 0.0))


@pytest.mark.parametrize("target", [line(1.0, 0.0), line(1.0, 0.3), line(1.0, 0.9), REPACKED])
@pytest.mark.parametrize("ratio", [0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("p", [0.1, 0.4, 0.7, 0.95])
def test_one_request_gets_the_length_of_the_highest_rate(target, ratio, p):
    draft = line(ratio, 0.3)
    policy = learned([p] * 8)
    (chosen,) = policy.choose([plan()], target=curve(*target), draft=curve(*draft),
                              reference=curve(*draft))  # fmt: skip
    best = max(rate(k, p, target, draft) for k in LENGTHS)
    assert rate(chosen, p, target, draft) >= 0.97 * best


def test_lengths_are_between_nothing_and_the_most_allowed():
    free = curve(*line(1.0, 0.0))
    cheap, dear = curve(*line(1e-6, 0.0)), curve(*line(1.0, 0.0))
    for most in (0, 1, 5):
        policy = learned([0.9] * 8)
        assert policy.choose([plan(most)], target=free, draft=cheap, reference=cheap) == [most]
        assert policy.choose([plan(most)], target=free, draft=dear, reference=dear) == [0]


def test_cheap_groups_of_rows_are_filled():
    policy = learned([0.55] * 8)
    draft = curve(*line(0.02, 0.0))
    (length,) = policy.choose([plan()], target=curve(*REPACKED), draft=draft, reference=draft)
    assert length + 1 in {4, 8}


def test_requests_of_a_batch_share_what_pays_by_their_own_acceptance():
    good, bad = _core.Acceptance(0.97), _core.Acceptance(0.97)
    for _ in range(200):
        good.count_round(8, False)
        bad.count_round(0, True)
    options = {"is_aligned": True, "is_free": True, "most": 8}
    plans = [_core.RoundPlan(good, **options), _core.RoundPlan(bad, **options)]
    small = curve(*line(0.05, 0.5))
    target = curve(*line(1.0, 0.3))
    lengths = learned([0.5] * 8).choose(plans, target=target, draft=small, reference=small)
    assert lengths[0] >= 3
    assert lengths[1] == 0


def test_lengths_that_were_asked_for_stay():
    policy = learned([0.9] * 8)
    small = curve(*line(0.01, 0.1))
    lengths = policy.choose(
        [plan(2, is_free=False), plan(8)], target=curve(*line(1, 0.1)), draft=small, reference=small
    )
    assert lengths[0] == 2
    assert lengths[1] > 0


def test_one_batch_for_draft_and_reference_makes_not_drafting_cheaper():
    policy = learned([0.62] * 8)
    small, target = curve(*line(1.0, 0.05)), curve(*line(1.0, 0.9))
    costs = {"target": target, "draft": small, "reference": small}
    apart, together = (
        policy.choose([plan(is_aligned=True)], **costs, share_batches=share)
        for share in (False, True)
    )
    assert apart[0] > 0
    assert together == [0]


def play(policy, own, costs, accepts, rounds):
    """The lengths of so many rounds of one request, in which all or none of a draft is accepted."""
    lengths = []
    for _ in range(rounds):
        request = _core.RoundPlan(own, is_aligned=False, is_free=True, most=8)
        (length,) = policy.choose([request], **costs)
        outcome = (length, False) if accepts else (0, length > 0)
        own.count_round(*outcome)
        policy.learn(*outcome)
        lengths.append(length)
    return lengths


def test_drafting_that_does_not_pay_is_tried_now_and_then():
    small = curve(*line(0.2, 0.1))
    costs = {"target": curve(*line(1, 0.3)), "draft": small, "reference": small}
    lengths = play(learned([0.01] * 8), _core.Acceptance(0.97), costs, accepts=False, rounds=5000)
    assert 1 <= sum(length > 0 for length in lengths) <= 100


def test_drafting_that_cannot_pay_is_never_tried():
    dear = curve(*line(1.0, 0.9))
    costs = {"target": dear, "draft": dear, "reference": dear}
    lengths = play(learned([0.5]), _core.Acceptance(0.97), costs, accepts=False, rounds=5000)
    assert not any(lengths)


def test_acceptance_that_returns_is_noticed():
    small = curve(*line(0.05, 0.1))
    costs = {"target": curve(*line(1, 0.3)), "draft": small, "reference": small}
    lengths = play(learned([0.01] * 8), _core.Acceptance(0.97), costs, accepts=True, rounds=5000)
    assert lengths[0] == 0
    assert lengths[-1] == 8


def test_curve_interpolates_and_extrapolates_by_rows():
    costs = _core.CostCurve([(1, 1.0), (4, 4.0), (8, 6.0)])
    expected = {0: 0.0, 0.5: 0.5, 1: 1.0, 2: 2.0, 4: 4.0, 6: 5.0, 7.5: 5.75, 8: 6.0, 16: 12.0}
    for rows, seconds in expected.items():
        assert costs.seconds(rows) == pytest.approx(seconds)


def test_curve_follows_the_news_but_not_a_hiccup():
    costs = curve(1.0, 2.0, 3.0)
    costs.observe(2, 1000.0)
    assert costs.seconds(2) < 2.5
    for _ in range(100):
        costs.observe(2, 3.0)
    assert costs.seconds(2) == pytest.approx(3.0, rel=1e-3)
    assert 1.0 < costs.seconds(1) < 1.5  # the others go along half of the way
    costs.observe(9, 1.0)  # beyond what was measured: ignored
    costs.observe(2, 0.0)
    assert costs.seconds(2) == pytest.approx(3.0, rel=1e-3)


def test_acceptance_weighs_what_was_seen_against_the_guess():
    seen = _core.Acceptance(1.0)
    for accepted, rejected in [(2, True), (0, True), (1, True), (3, False)]:
        seen.count_round(accepted, rejected)
    assert [seen.at(i, 0.5, 0.0) for i in range(3)] == pytest.approx([3 / 4, 2 / 3, 1 / 2])
    assert seen.at(3, 0.5, 4.0) == 0.5
    assert seen.at(0, 0.5, 4.0) == pytest.approx((3 + 2) / (4 + 4))


def table(seed: int) -> TableModel:
    logits = np.random.default_rng(seed).normal(size=(6, 6)).astype(np.float32)
    return TableModel(logits, order=1)


def test_measuring_costs_counts_the_rows_and_forgets():
    model = table(0)
    costs = _core.measure_costs(model, [4, 1, 2], 3)
    assert [rows for rows, _ in costs] == [1, 2, 4]
    assert all(seconds > 0 for _, seconds in costs)
    assert model.evaluated_tokens == 4 + 3 * (4 + 1 + 2)
    tiny = TableModel(np.zeros((1, 6), dtype=np.float32), context_size=16)
    assert [rows for rows, _ in _core.measure_costs(tiny, [1, 4, 5], 1)] == [1, 4]


def test_a_seed_fixes_the_text_whatever_was_measured():
    def texts(*, calibrated: bool) -> list[tuple[int, ...]]:
        with Decoder.from_models(table(1), table(2), table(3)) as decoder:
            if calibrated:
                decoder._engine.calibrate()
            alone = [decoder.generate([0], max_tokens=40, seed=seed).tokens for seed in range(8)]
            batch = decoder.generate_batch([[0]] * 4, max_tokens=40, seed=5)
            return [*alone, *(completion.tokens for completion in batch)]

    assert texts(calibrated=True) == texts(calibrated=False)


def test_adaptive_lengths_keep_the_law():
    """Two tokens after [0], against pi* by chi-square, with whatever lengths are chosen."""
    target, draft, reference = table(1), table(2), table(3)
    z = (np.random.default_rng(s).normal(size=(6, 6)).astype(np.float32) for s in (1, 2, 3))
    p, q, r = (np.float64(x) for x in z)
    law = np.exp(p + q - r)
    law /= law.sum(axis=1, keepdims=True)
    expected = np.array([law[0, a] * law[a, b] for a, b in itertools.product(range(6), repeat=2)])
    n = 6000
    observed = np.zeros(36)
    with Decoder.from_models(target, draft, reference) as decoder:
        decoder._engine.calibrate()
        for c in decoder.generate_batch([[0]] * n, max_tokens=2, temperature=1.0):
            observed[c.tokens[0] * 6 + c.tokens[1]] += 1
    from scipy.stats import chi2

    statistic = ((observed - n * expected) ** 2 / (n * expected)).sum()
    assert chi2.sf(statistic, 35) > 1e-9


def test_calibrating_needs_an_idle_decoder():
    with Decoder.from_models(table(1), table(2), table(3)) as decoder:
        request = decoder.submit([0], max_tokens=2)
        with pytest.raises(RuntimeError, match="requests"):
            decoder._engine.calibrate()
        decoder.cancel(request)
