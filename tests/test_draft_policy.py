"""How many tokens are drafted: what promises most tokens a second, by costs and acceptance."""

from __future__ import annotations

import itertools
from functools import partial

import numpy as np
import pytest
from rewardshift._core import DraftKind

from rewardshift import Decoder, NgramTable, TableModel, _core

LENGTHS = range(9)


def curve(*seconds: float) -> _core.CostCurve:
    """Seconds of 1, 2, ... rows."""
    return _core.CostCurve(list(enumerate(seconds, start=1)))


def line(first: float, slope: float) -> list[float]:
    return [first * (1 + slope * n) for n in range(64)]


REPACKED = [1.0, 1.2, 1.4, 1.24, 1.75, 1.9, 2.0, 2.1, *(0.25 * n for n in range(9, 65))]
"""Groups of four rows are cheap, as quantised matrix kernels have it."""


def learned(
    acceptances: list[float], rounds: int = 4000, policy: _core.AdaptivePolicy | None = None
) -> _core.AdaptivePolicy:
    """A policy that saw chains accepted with these probabilities, position by position."""
    policy, rng = policy or _core.AdaptivePolicy(), np.random.default_rng(0)
    for _ in range(rounds):
        draws = rng.random(len(acceptances)) < acceptances
        accepted = len(draws) if draws.all() else int(np.argmin(draws))
        policy.learn(*chain(len(draws), accepted))
    return policy


def chain(drafted: int, accepted: int) -> tuple[DraftKind, int, list[int], bool]:
    """The outcome of a round in which the first drafts of a chain were accepted."""
    return DraftKind.chain, drafted, list(range(accepted)), accepted < drafted


TARGET, DRAFT, REFERENCE = 0, 1, 2
"""Models, by number."""


def way(
    kind: DraftKind = DraftKind.chain, *, is_aligned: bool = False, reference: int = REFERENCE
) -> _core.WayCosts:
    """What a way asks of a pair: its draft draws, the others score; a table and a quotation ask
    nobody while they draft."""
    scoring = [TARGET, reference] if is_aligned else [TARGET]
    if kind in (DraftKind.chain, DraftKind.tree):
        return _core.WayCosts(kind, drafting=[DRAFT], scoring=scoring)
    if kind in (DraftKind.shifted_chain, DraftKind.shifted_tree):
        return _core.WayCosts(kind, drafting=[DRAFT, reference], scoring=[TARGET])
    return _core.WayCosts(kind, drafting=[], scoring=[*scoring, *([DRAFT] if is_aligned else [])])


def plan(
    most: int = 8,
    *,
    is_free: bool = True,
    is_aligned: bool = False,
    kinds: tuple[DraftKind, ...] = (DraftKind.chain,),
    reference: int = REFERENCE,
    own: _core.Acceptances | None = None,
) -> _core.RoundPlan:
    """A request that may draft in these ways, unless told otherwise with no past of its own."""
    return _core.RoundPlan(
        own or _core.Acceptances(0.97),
        goal=[TARGET, DRAFT, reference] if is_aligned else [TARGET],
        ways=[way(kind, is_aligned=is_aligned, reference=reference) for kind in kinds],
        is_free=is_free,
        most=most,
    )


def costs_of(
    target: _core.CostCurve, draft: _core.CostCurve, reference: _core.CostCurve
) -> dict[str, list[_core.CostCurve]]:
    return {"models": [target, draft, reference]}


def lengths_of(policy: _core.AdaptivePolicy, plans: list[_core.RoundPlan], **costs) -> list[int]:
    return [length for _, length in policy.choose(plans, **costs)]


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
    costs = costs_of(curve(*target), curve(*draft), curve(*draft))
    (chosen,) = lengths_of(policy, [plan()], **costs)
    best = max(rate(k, p, target, draft) for k in LENGTHS)
    assert rate(chosen, p, target, draft) >= 0.97 * best


def rate_when_read_again(k: int, p: float, target: list[float], draft: list[float]) -> float:
    """The same, if after a rejection both read again what they had read of the block: the target
    the accepted drafts and the token before them, the draft the accepted ones alone, unless the
    last draft, which it never read, was the one to go."""
    rejected = [p**a * (1 - p) for a in range(k)]
    of_target = sum(chance * (a + 1) for a, chance in enumerate(rejected))
    of_draft = sum(chance * a for a, chance in enumerate(rejected[:-1]))

    def seconds(curve: list[float], rows: float) -> float:
        return float(np.interp(rows, range(1, len(curve) + 1), curve))

    block = seconds(target, k + 1 + of_target)
    turns = seconds(draft, 1 + of_draft) + (k - 1) * draft[0] + p**k * draft[0] if k else 0.0
    return sum(p**i for i in range(k + 1)) / (block + turns)


@pytest.mark.parametrize("slope", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("ratio", [0.02, 0.2])
@pytest.mark.parametrize("p", [0.1, 0.4, 0.7, 0.95])
def test_what_has_to_be_read_again_is_paid_for(slope, ratio, p):
    target, draft = line(1.0, slope), line(ratio, 0.5)
    policy = learned([p] * 8)
    costs = costs_of(curve(*target), curve(*draft), curve(*draft))
    (chosen,) = lengths_of(policy, [plan()], **costs, takes_back=[0, 0, 0])
    (otherwise,) = lengths_of(policy, [plan()], **costs)
    best = max(rate_when_read_again(k, p, target, draft) for k in LENGTHS)
    assert rate_when_read_again(chosen, p, target, draft) >= 0.97 * best
    assert chosen <= otherwise


def test_nothing_is_drafted_where_reading_again_costs_more_than_drafts_win():
    target, draft = line(1.0, 0.3), line(0.05, 0.5)
    policy = learned([0.45] * 8)
    costs = costs_of(curve(*target), curve(*draft), curve(*draft))
    assert lengths_of(policy, [plan()], **costs)[0] > 0
    assert lengths_of(policy, [plan()], **costs, takes_back=[0, 0, 0]) == [0]


def test_lengths_are_between_nothing_and_the_most_allowed():
    free = curve(*line(1.0, 0.0))
    cheap, dear = curve(*line(1e-6, 0.0)), curve(*line(1.0, 0.0))
    for most in (0, 1, 5):
        policy = learned([0.9] * 8)
        assert lengths_of(policy, [plan(most)], **costs_of(free, cheap, cheap)) == [most]
        assert lengths_of(policy, [plan(most)], **costs_of(free, dear, dear)) == [0]


def test_cheap_groups_of_rows_are_filled():
    policy = learned([0.55] * 8)
    draft = curve(*line(0.02, 0.0))
    costs = costs_of(curve(*REPACKED), draft, draft)
    (length,) = lengths_of(policy, [plan()], **costs)
    assert length + 1 in {4, 8}


def test_requests_of_a_batch_share_what_pays_by_their_own_acceptance():
    good, bad = _core.Acceptances(0.97), _core.Acceptances(0.97)
    for _ in range(200):
        good.count(*chain(8, 8))
        bad.count(*chain(8, 0))
    plans = [plan(is_aligned=True, own=good), plan(is_aligned=True, own=bad)]
    small = curve(*line(0.05, 0.5))
    target = curve(*line(1.0, 0.3))
    costs = costs_of(target, small, small)
    lengths = lengths_of(learned([0.5] * 8), plans, **costs)
    assert lengths[0] >= 3
    assert lengths[1] == 0


def test_lengths_that_were_asked_for_stay():
    policy = learned([0.9] * 8)
    small = curve(*line(0.01, 0.1))
    costs = costs_of(curve(*line(1, 0.1)), small, small)
    for kind in DraftKind:
        both = (kind, DraftKind.after_4)
        given, free = policy.choose([plan(2, is_free=False, kinds=both), plan(8)], **costs)
        assert given == (0, 2)
        assert free[1] > 0


def test_one_batch_for_draft_and_reference_makes_not_drafting_cheaper():
    policy = learned([0.62] * 8)
    small, target = curve(*line(1.0, 0.05)), curve(*line(1.0, 0.9))
    costs = costs_of(target, small, small)
    apart, together = (
        lengths_of(policy, [plan(is_aligned=True, reference=model)], **costs)
        for model in (REFERENCE, DRAFT)
    )
    assert apart[0] > 0
    assert together == [0]


def play(policy, own, costs, accepts, rounds):
    """The lengths of so many rounds of one request, in which all or none of a draft is accepted."""
    lengths = []
    for _ in range(rounds):
        (length,) = lengths_of(policy, [plan(own=own)], **costs)
        outcome = chain(length, length if accepts else 0)
        own.count(*outcome)
        policy.learn(*outcome)
        lengths.append(length)
    return lengths


def test_drafting_that_does_not_pay_is_tried_now_and_then():
    small = curve(*line(0.2, 0.1))
    costs = costs_of(curve(*line(1, 0.3)), small, small)
    lengths = play(learned([0.01] * 8), _core.Acceptances(0.97), costs, accepts=False, rounds=5000)
    assert 1 <= sum(length > 0 for length in lengths) <= 100


def test_drafting_that_cannot_pay_is_never_tried():
    dear = curve(*line(1.0, 0.9))
    costs = costs_of(dear, dear, dear)
    lengths = play(learned([0.5]), _core.Acceptances(0.97), costs, accepts=False, rounds=5000)
    assert not any(lengths)


def test_acceptance_that_returns_is_noticed():
    small = curve(*line(0.05, 0.1))
    costs = costs_of(curve(*line(1, 0.3)), small, small)
    lengths = play(learned([0.01] * 8), _core.Acceptances(0.97), costs, accepts=True, rounds=5000)
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
    seen = _core.Acceptances(1.0)
    for accepted, drafted in [(2, 3), (0, 1), (1, 3), (3, 3)]:
        seen.count(*chain(drafted, accepted))
    at = partial(seen.at, DraftKind.chain)
    assert [at(i, 0.5, 0.0) for i in range(3)] == pytest.approx([3 / 4, 2 / 3, 1 / 2])
    assert at(3, 0.5, 4.0) == 0.5
    assert at(0, 0.5, 4.0) == pytest.approx((3 + 2) / (4 + 4))


def test_drafts_of_a_tree_are_counted_by_the_order_they_were_drawn_in():
    seen = _core.Acceptances(1.0)
    for accepted, drafted in [([0, 2], 4), ([1], 3), ([], 2), ([0, 1], 2)]:
        seen.count(DraftKind.tree, drafted, accepted)
    at = partial(seen.at, DraftKind.tree, prior=0.5, weight=0.0)
    assert [at(i) for i in range(4)] == pytest.approx([2 / 4, 2 / 4, 1 / 2, 0 / 1])
    assert seen.at(DraftKind.chain, 0, 0.5, 0.0) == 0.5  # says nothing of chains
    with pytest.raises(ValueError, match="below drafted, not 3"):
        seen.count(DraftKind.tree, 3, [3])


def test_what_stands_in_for_another_is_forgotten_while_that_is_drafted():
    seen = _core.Acceptances(0.5)
    seen.count(DraftKind.tree, 1, [])
    seen.count(DraftKind.after_2, 1, [])
    for _ in range(20):
        seen.count(*chain(1, 1))
    assert seen.at(DraftKind.tree, 0, 0.9, 1.0) == pytest.approx(0.9, abs=1e-5)
    assert seen.at(DraftKind.after_2, 0, 0.9, 1.0) == pytest.approx(0.45)


@pytest.mark.parametrize(
    ("plain", "shifted", "pays"),
    [(0.5, 0.9, DraftKind.shifted_chain), (0.75, 0.8, DraftKind.chain)],
)
def test_a_base_is_shifted_where_what_that_wins_is_worth_its_turns(plain, shifted, pays):
    policy = learned([plain] * 8, rounds=200)
    for _ in range(40):  # in turns: who is not played is forgotten
        learned([plain] * 8, 50, policy)
        rng = np.random.default_rng(2)
        for _ in range(50):
            draws = rng.random(8) < shifted
            accepted = 8 if draws.all() else int(np.argmin(draws))
            policy.learn(DraftKind.shifted_chain, 8, list(range(accepted)), accepted < 8)
    small = curve(*line(0.1, 0.1))
    costs = costs_of(curve(*line(1, 0.02)), small, small)
    kinds = (DraftKind.chain, DraftKind.shifted_chain)
    ((chosen, length),) = policy.choose([plan(kinds=kinds, is_aligned=True)], **costs)
    assert kinds[chosen] == pays
    assert length > 0


# --- trees


def learned_tree(
    kind: DraftKind, chances: list[float], policy: _core.AdaptivePolicy, rounds: int = 4000
) -> _core.AdaptivePolicy:
    """The policy, having seen trees whose drafts are accepted with these probabilities."""
    rng = np.random.default_rng(1)
    for _ in range(rounds):
        accepted = np.flatnonzero(rng.random(len(chances)) < chances)
        policy.learn(kind, len(chances), accepted.tolist())
    return policy


@pytest.mark.parametrize(
    ("chains", "tree", "pays"),
    [
        ([0.3] * 8, [0.3, 0.28, 0.25, 0.2, 0.18, 0.15, 0.1, 0.1], DraftKind.tree),
        ([0.8] * 8, [0.8, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1], DraftKind.chain),
    ],
)
def test_a_tree_is_drafted_where_it_pays_more_than_a_chain(chains, tree, pays):
    policy = _core.AdaptivePolicy()
    for _ in range(4000 // 50):  # in turns: who is not played is forgotten
        learned(chains, 50, policy)
        learned_tree(DraftKind.tree, tree, policy, 50)
    small = curve(*line(0.05, 0.1))
    costs = costs_of(curve(*line(1, 0.02)), small, small)
    kinds = (DraftKind.tree, DraftKind.chain)
    ((chosen, length),) = policy.choose([plan(kinds=kinds)], **costs)
    assert kinds[chosen] == pays
    assert length > 0


def test_drafts_of_a_table_cost_no_turn_of_the_draft():
    """What pays from a table does not where the draft, as dear as the target, must be asked."""
    kind = DraftKind.after_3
    policy = learned_tree(kind, [0.9, 0.8, 0.1, 0.1], learned([0.85] * 4))
    slow = curve(*line(1.0, 0.3))
    costs = costs_of(slow, slow, slow)
    plans = [plan(4, kinds=(kind,)), plan(4)]
    assert lengths_of(policy, plans, **costs) == [2, 0]  # by rate 1.54, 1.81, 1.95, 1.73


@pytest.mark.parametrize("slope", [0.05, 0.2, 0.45, 1.0])
def test_a_table_drafts_as_many_as_promise_most_tokens_a_second(slope):
    chances = [0.7, 0.5, 0.35, 0.25, 0.15, 0.1]
    kind, target = DraftKind.after_4, line(1.0, slope)
    policy = learned_tree(kind, chances, _core.AdaptivePolicy())
    costs = costs_of(curve(*target), curve(1.0), curve(1.0))
    (length,) = lengths_of(policy, [plan(6, kinds=(kind,))], **costs)
    rates = [(1 + sum(chances[:n])) / target[n] for n in range(7)]
    assert rates[length] >= 0.97 * max(rates)


def test_by_what_a_table_goes_decides_how_much_it_drafts():
    policy = learned_tree(DraftKind.after_1, [0.05] * 4, _core.AdaptivePolicy())
    learned_tree(DraftKind.after_4, [0.9, 0.8, 0.7, 0.6], policy)
    costs = costs_of(curve(*line(1, 0.1)), curve(1.0), curve(1.0))
    kinds = (DraftKind.after_1, DraftKind.after_4)
    assert lengths_of(policy, [plan(4, kinds=(kind,)) for kind in kinds], **costs) == [0, 4]


def table(seed: int, **facts) -> TableModel:
    logits = np.random.default_rng(seed).normal(size=(6, 6)).astype(np.float32)
    return TableModel(logits, order=1, **facts)


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


@pytest.mark.parametrize("options", [{}, {"tree_width": 3}])
@pytest.mark.parametrize("from_table", [False, True])
def test_whatever_is_chosen_keeps_the_law(options, from_table):
    """Tokens 3 and 4 after [0], against pi* by chi-square; the target is slow: drafting pays."""
    z = (np.random.default_rng(s).normal(size=(6, 6)).astype(np.float32) for s in (1, 2, 3))
    p, q, r = (np.float64(x) for x in z)
    law = np.exp(p + q - r)
    law /= law.sum(axis=1, keepdims=True)
    third = (law @ law @ law)[0]
    expected = np.array([third[a] * law[a, b] for a, b in itertools.product(range(6), repeat=2)])
    n = 6000
    observed, lengths = np.zeros(36), set()
    target = table(1, max_sequences=13, batch_seconds=3e-4)
    others = (table(seed, max_sequences=13) for seed in (2, 3))
    with Decoder.from_models(target, *others) as decoder:
        decoder._engine.calibrate()
        options = {**options, "max_tokens": 6, "temperature": 1.0}
        drafter = {"drafter": NgramTable()} if from_table else {}
        for c in decoder.generate_batch([[0]] * n, **options, **drafter):
            observed[c.tokens[2] * 6 + c.tokens[3]] += 1
            lengths.add(c.statistics.drafted)
    from scipy.stats import chi2

    assert len(lengths) > 2  # it chose, and not always the same
    statistic = ((observed - n * expected) ** 2 / (n * expected)).sum()
    assert chi2.sf(statistic, 35) > 1e-9


def test_calibrating_needs_an_idle_decoder():
    with Decoder.from_models(table(1), table(2), table(3)) as decoder:
        request = decoder.submit([0], max_tokens=2)
        with pytest.raises(RuntimeError, match="requests"):
            decoder._engine.calibrate()
        decoder.cancel(request)
